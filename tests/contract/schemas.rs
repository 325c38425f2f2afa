//! `subjects/schemas` is generated from the wire types.

use order_router::wire::adjustment::{AdjustmentEvent, AdjustmentRequest};
use order_router::wire::brokers::BrokerList;
use order_router::wire::day::DayEvent;
use order_router::wire::dead_letter::DeadLetter;
use order_router::wire::intent::ExecutionIntent;
use order_router::wire::lock::{LockDocument, LockEvent, LockLiftRequest, LockList, LockSetRequest};
use order_router::wire::market_quote::MarketQuote;
use order_router::wire::note::{NoteEvent, NoteRequest};
use order_router::wire::order_reference::{CancelAllReply, CancelAllRequest, OrderReference};
use order_router::wire::problem::Problem;
use order_router::wire::report::ExecutionReport;
use order_router::wire::risk_signal::RiskSignal;
use order_router::wire::state::{RouterState, StateChangeRequest, StateEvent};
use order_router::wire::submission::SubmissionEvent;
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::generated::{assert_file, path};

/// A schema as it stands in its file: what names it comes first.
#[derive(Serialize)]
struct Document {
    #[serde(rename = "$schema")]
    dialect: &'static str,
    #[serde(rename = "$id")]
    id: String,
    title: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Every published schema: its file's name, and the type it is made from.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        one::<AdjustmentEvent>("adjustment-event"),
        one::<AdjustmentRequest>("adjustment-request"),
        one::<BrokerList>("brokers"),
        one::<CancelAllReply>("cancel-all-answer"),
        one::<CancelAllRequest>("cancel-all-request"),
        one::<DayEvent>("day-event"),
        one::<DeadLetter>("dead-letter"),
        one::<ExecutionIntent>("execution-intent"),
        one::<ExecutionReport>("execution-report"),
        one::<LockDocument>("lock"),
        one::<LockEvent>("lock-event"),
        one::<LockLiftRequest>("lock-lift-request"),
        one::<LockSetRequest>("lock-set-request"),
        one::<LockList>("locks"),
        one::<MarketQuote>("market-quote"),
        one::<NoteEvent>("note-event"),
        one::<NoteRequest>("note-request"),
        one::<OrderReference>("order-reference"),
        one::<Problem>("problem"),
        one::<RiskSignal>("risk-signal"),
        one::<RouterState>("router-state"),
        one::<StateChangeRequest>("state-change-request"),
        one::<StateEvent>("state-event"),
        one::<SubmissionEvent>("submission-event"),
    ]
}

fn one<T: JsonSchema>(name: &'static str) -> (&'static str, String) {
    let schema: Schema = schema_for!(T);
    let mut value = schema.to_value();
    // The order of keys must not depend on how some other crate has serde_json built.
    value.sort_all_objects();
    let Value::Object(mut rest) = value else {
        panic!("{name} has no object for a schema")
    };
    rest.remove("$schema");
    rest.remove("title");
    let document = Document {
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
fn the_schemas_are_those_of_the_types() {
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
            "subjects/schemas/{name} is made from no type: delete it"
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
