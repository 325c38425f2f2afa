//! `subjects/schemas` is generated from the wire types.

use order_router::wire::adjustment::{AdjustmentEvent, AdjustmentRequest};
use order_router::wire::balance::BalanceEvent;
use order_router::wire::brokers::BrokerList;
use order_router::wire::day::DayEvent;
use order_router::wire::dead_letter::DeadLetter;
use order_router::wire::environment::EnvironmentEvent;
use order_router::wire::health::WorkerHealth;
use order_router::wire::heartbeat::{HeartbeatAnswer, HeartbeatEvent, HeartbeatRequest};
use order_router::wire::intent::ExecutionIntent;
use order_router::wire::journal_loss::JournalLossEvent;
use order_router::wire::limits::{LimitsChangeRequest, LimitsEvent};
use order_router::wire::lock::{LockDocument, LockEvent, LockLiftRequest, LockList, LockSetRequest};
use order_router::wire::market_quote::MarketQuote;
use order_router::wire::note::{NoteEvent, NoteRequest};
use order_router::wire::order_reference::{CancelAllReply, CancelAllRequest, OrderReference};
use order_router::wire::problem::Problem;
use order_router::wire::replace::ReplaceRequest;
use order_router::wire::report::ExecutionReport;
use order_router::wire::risk_signal::RiskSignal;
use order_router::wire::state::{RouterState, StateChangeRequest, StateEvent, StateGetRequest};
use order_router::wire::submission::SubmissionEvent;
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::generated::{assert_file, path};

/// A schema as written to its file: its identifying fields come first.
#[derive(Serialize)]
struct SchemaDocument {
    #[serde(rename = "$schema")]
    dialect: &'static str,
    #[serde(rename = "$id")]
    id: String,
    title: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Every published schema: its file's name, and the type it is generated from.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        schema_of::<AdjustmentEvent>("adjustment-event"),
        schema_of::<AdjustmentRequest>("adjustment-request"),
        schema_of::<BalanceEvent>("balance-event"),
        schema_of::<BrokerList>("brokers"),
        schema_of::<CancelAllReply>("cancel-all-answer"),
        schema_of::<CancelAllRequest>("cancel-all-request"),
        schema_of::<DayEvent>("day-event"),
        schema_of::<DeadLetter>("dead-letter"),
        schema_of::<EnvironmentEvent>("environment-event"),
        schema_of::<ExecutionIntent>("execution-intent"),
        schema_of::<ExecutionReport>("execution-report"),
        schema_of::<WorkerHealth>("health"),
        schema_of::<HeartbeatAnswer>("heartbeat-answer"),
        schema_of::<HeartbeatEvent>("heartbeat-event"),
        schema_of::<HeartbeatRequest>("heartbeat-request"),
        schema_of::<JournalLossEvent>("journal-loss-event"),
        schema_of::<LimitsChangeRequest>("limits-change-request"),
        schema_of::<LimitsEvent>("limits-event"),
        schema_of::<LockDocument>("lock"),
        schema_of::<LockEvent>("lock-event"),
        schema_of::<LockLiftRequest>("lock-lift-request"),
        schema_of::<LockSetRequest>("lock-set-request"),
        schema_of::<LockList>("locks"),
        schema_of::<MarketQuote>("market-quote"),
        schema_of::<NoteEvent>("note-event"),
        schema_of::<NoteRequest>("note-request"),
        schema_of::<OrderReference>("order-reference"),
        schema_of::<Problem>("problem"),
        schema_of::<ReplaceRequest>("replace-request"),
        schema_of::<RiskSignal>("risk-signal"),
        schema_of::<RouterState>("router-state"),
        schema_of::<StateChangeRequest>("state-change-request"),
        schema_of::<StateEvent>("state-event"),
        schema_of::<StateGetRequest>("state-get-request"),
        schema_of::<SubmissionEvent>("submission-event"),
    ]
}

fn schema_of<T: JsonSchema>(name: &'static str) -> (&'static str, String) {
    let schema: Schema = schema_for!(T);
    let mut value = schema.to_value();
    // The order of keys must not depend on the serde_json features that another crate enables.
    value.sort_all_objects();
    let Value::Object(mut rest) = value else {
        panic!("{name} has no object for a schema")
    };
    rest.remove("$schema");
    rest.remove("title");
    let document = SchemaDocument {
        dialect: "https://json-schema.org/draft/2020-12/schema",
        id: format!("urn:order-router:v1:{name}"),
        title: format!("order-router.v1.{}", T::schema_name()),
        rest,
    };
    (
        name,
        serde_json::to_string_pretty(&document).expect("a schema is JSON") + "\n",
    )
}

#[test]
fn schemas_match_the_types() {
    for (name, schema) in all() {
        assert_file(&format!("subjects/schemas/{name}.schema.json"), &schema);
    }
}

#[test]
fn every_schema_file_has_a_type() {
    let names: Vec<String> = all().iter().map(|(name, _)| format!("{name}.schema.json")).collect();
    for entry in std::fs::read_dir(path("subjects/schemas")).expect("subjects/schemas") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(
            names.contains(&name),
            "subjects/schemas/{name} is not generated from any type: delete it"
        );
    }
}

#[test]
fn every_field_is_described() {
    for (name, schema) in all() {
        let schema: Value = serde_json::from_str(&schema).expect("a schema is JSON");
        let types = schema["$defs"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, value)| value);
        for one in types.chain([&schema]) {
            for (field, value) in one["properties"].as_object().into_iter().flatten() {
                assert!(value["description"].is_string(), "{field} of {name} has no description");
            }
        }
    }
}
