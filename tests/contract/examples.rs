//! The examples under `subjects/examples`: the good ones are decoded, and replies encoded again byte for byte; each bad
//! one returns exactly the error it is named after.

use order_router::config::Settings;
use order_router::domain::instrument::Instrument;
use order_router::domain::intent::Intent;
use order_router::domain::time::Timestamp;
use order_router::fault::{Fault, FaultCode};
use order_router::wire::adjustment::{AdjustmentEvent, decode_adjustment};
use order_router::wire::balance::BalanceEvent;
use order_router::wire::brokers::BrokerList;
use order_router::wire::day::DayEvent;
use order_router::wire::dead_letter::DeadLetter;
use order_router::wire::environment::EnvironmentEvent;
use order_router::wire::health::WorkerHealth;
use order_router::wire::heartbeat::{HeartbeatAnswer, HeartbeatEvent, decode_heartbeat};
use order_router::wire::intent::{MissingIdPolicy, decode_intent};
use order_router::wire::journal_loss::JournalLossEvent;
use order_router::wire::journal_report::decode_journal_report;
use order_router::wire::limits::{LimitsChangeRequest, LimitsEvent};
use order_router::wire::lock::{LockDocument, LockEvent, LockList, decode_lift_request, decode_lock_request};
use order_router::wire::market_quote::decode_quote;
use order_router::wire::note::{NoteEvent, decode_note_request};
use order_router::wire::order_reference::{CancelAllReply, decode_cancel_all, decode_order_selector};
use order_router::wire::problem::Problem;
use order_router::wire::replace::decode_replace;
use order_router::wire::report::ExecutionReport;
use order_router::wire::risk_signal::RiskSignal;
use order_router::wire::state::{RouterState, StateEvent, decode_state_change, decode_state_get};
use order_router::wire::submission::SubmissionEvent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::generated::path;
use crate::schemas;

const GOOD: &str = "subjects/examples/good";
const BAD: &str = "subjects/examples/bad";
const INDEX: &str = "index.json";

/// One line of the index of bad examples.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BadExample {
    file: String,
    /// The schema's name.
    schema: String,
    code: String,
    field: Option<String>,
    judged_by: DecidedBy,
    json_schema: Verdict,
    #[serde(default)]
    door: Door,
    /// Why schema and router differ, if they do.
    note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DecidedBy {
    /// The body alone is enough.
    Decoder,
    /// The check needs the instruments, the clock or the rules.
    Worker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Refuses,
    Accepts,
    NotJson,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Door {
    #[default]
    Request,
    Durable,
}

fn files(directory: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(path(directory)).expect("the examples");
    let read = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).expect("an example"))
    });
    let mut files: Vec<_> = read.filter(|(name, _)| name != INDEX).collect();
    files.sort();
    files
}

fn index() -> Vec<BadExample> {
    let bytes = std::fs::read(path(BAD).join(INDEX)).expect("the index");
    serde_json::from_slice(&bytes).expect("an index of bad examples")
}

/// Decodes a request like its endpoint.
fn read_request(schema: &str, body: &[u8], door: Door) -> Option<Result<(), Fault>> {
    let missing_id = match door {
        Door::Request => MissingIdPolicy::Assign,
        Door::Durable => MissingIdPolicy::Refuse,
    };
    Some(match schema {
        "adjustment-request" => decode_adjustment(body).map(|_| ()),
        "execution-intent" => decode_intent(body, missing_id).map(|_| ()),
        "heartbeat-request" => decode_heartbeat(body).map(|_| ()),
        "limits-change-request" => LimitsChangeRequest::decode(body).map(|_| ()),
        "lock-lift-request" => decode_lift_request(body).map(|_| ()),
        "lock-set-request" => decode_lock_request(body).map(|_| ()),
        "market-quote" => decode_quote(body).map(|_| ()),
        "note-request" => decode_note_request(body).map(|_| ()),
        "order-reference" => decode_order_selector(body).map(|_| ()),
        "cancel-all-request" => decode_cancel_all(body).map(|_| ()),
        "replace-request" => decode_replace(body).map(|_| ()),
        "state-change-request" => decode_state_change(body).map(|_| ()),
        "state-get-request" => decode_state_get(body).map(|_| ()),
        _ => return None,
    })
}

/// Decodes a reply and encodes it again.
fn encode_again(schema: &str, body: &[u8]) -> Option<String> {
    fn round_trip<T: Serialize + DeserializeOwned>(body: &[u8]) -> String {
        let value: T = serde_json::from_slice(body).expect("a reply of its type");
        serde_json::to_string(&value).expect("JSON")
    }
    Some(match schema {
        "adjustment-event" => round_trip::<AdjustmentEvent>(body),
        "balance-event" => round_trip::<BalanceEvent>(body),
        "brokers" => round_trip::<BrokerList>(body),
        "environment-event" => round_trip::<EnvironmentEvent>(body),
        "cancel-all-answer" => round_trip::<CancelAllReply>(body),
        "day-event" => round_trip::<DayEvent>(body),
        "health" => round_trip::<WorkerHealth>(body),
        "heartbeat-answer" => round_trip::<HeartbeatAnswer>(body),
        "heartbeat-event" => round_trip::<HeartbeatEvent>(body),
        "journal-loss-event" => round_trip::<JournalLossEvent>(body),
        "limits-event" => round_trip::<LimitsEvent>(body),
        "dead-letter" => round_trip::<DeadLetter>(body),
        "execution-report" => round_trip::<ExecutionReport>(body),
        "lock" => round_trip::<LockDocument>(body),
        "lock-event" => round_trip::<LockEvent>(body),
        "locks" => round_trip::<LockList>(body),
        "note-event" => round_trip::<NoteEvent>(body),
        "problem" => round_trip::<Problem>(body),
        "risk-signal" => round_trip::<RiskSignal>(body),
        "router-state" => round_trip::<RouterState>(body),
        "state-event" => round_trip::<StateEvent>(body),
        "submission-event" => round_trip::<SubmissionEvent>(body),
        _ => return None,
    })
}

/// Returns JSON without the white space between its tokens, and with every digit unchanged.
fn minified(body: &[u8]) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let kept = std::str::from_utf8(body).expect("UTF-8").chars().filter(|&c| {
        let keep = in_text || !c.is_ascii_whitespace();
        match (in_text, escaped, c) {
            (true, true, _) => escaped = false,
            (true, false, '\\') => escaped = true,
            (_, _, '"') => in_text = !in_text,
            _ => {}
        }
        keep
    });
    kept.collect()
}

fn schema_of(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}

#[test]
fn good_examples_parse_and_keep_every_digit() {
    let files = files(GOOD);
    for (file, body) in &files {
        let schema = schema_of(file);
        match (read_request(schema, body, Door::Request), encode_again(schema, body)) {
            (Some(read), None) => assert!(read.is_ok(), "{file}: {read:?}"),
            (None, Some(again)) => assert_eq!(again, minified(body), "{file}"),
            _ => panic!("{file} is named after no schema"),
        }
    }
    for (schema, _) in schemas::all() {
        let is_shown = files.iter().any(|(file, _)| schema_of(file) == schema);
        assert!(is_shown, "there is no good example of {schema}");
    }
}

#[test]
fn journaled_report_restores_its_order() {
    let body = std::fs::read(path(GOOD).join("execution-report.journaled.json")).expect("the example");
    let (order, settlement) = decode_journal_report(&body).expect("a complete document");
    assert_eq!(ExecutionReport::from(&order).order_id, order.order_id.as_str());
    assert_eq!(settlement.deltas.position, "0.01".parse().unwrap());
}

#[test]
fn problems_match_the_fault_table() {
    for (file, body) in files(GOOD).iter().filter(|(file, _)| schema_of(file) == "problem") {
        let problem: Problem = serde_json::from_slice(body).expect("a problem");
        assert_eq!(Problem::from(&problem.clone().into_fault()), problem, "{file}");
    }
}

#[test]
fn every_bad_example_gives_exactly_its_error() {
    for bad in index() {
        let body = std::fs::read(path(BAD).join(&bad.file)).unwrap_or_else(|error| panic!("{}: {error}", bad.file));
        assert_eq!(schema_of(&bad.file), bad.code, "{} is named after its error", bad.file);
        assert!(
            FaultCode::parse(&bad.code).is_some(),
            "{} is not a fault code",
            bad.code
        );
        let read = read_request(&bad.schema, &body, bad.door).expect("the schema of a request");
        match bad.judged_by {
            DecidedBy::Decoder => {
                let fault = read.expect_err(&bad.file);
                let found = (fault.code.as_str(), fault.field.as_deref());
                assert_eq!(found, (bad.code.as_str(), bad.field.as_deref()), "{}", bad.file);
            }
            DecidedBy::Worker => {
                assert!(read.is_ok(), "{}: {read:?}", bad.file);
                assert_eq!(bad.json_schema, Verdict::Accepts, "{}", bad.file);
                assert_cause_applies(&bad, &decode_intent(&body, MissingIdPolicy::Refuse).expect("an intent"));
            }
        }
        let differs = bad.judged_by == DecidedBy::Decoder && bad.json_schema == Verdict::Accepts;
        assert!(
            !differs || bad.note.is_some(),
            "{} does not say why a schema accepts it",
            bad.file
        );
    }
}

/// Checks against the default settings that the error's cause applies; the tests with a worker check the error itself.
fn assert_cause_applies(bad: &BadExample, intent: &Intent) {
    let settings = Settings::default();
    let instruments = settings.instruments.to_instruments(&settings.risk);
    let named = |one: &&Instrument| one.venue == intent.venue && one.symbol == intent.symbol;
    let instrument = instruments.iter().find(named);
    let of_broker = |one: &Instrument| one.broker == intent.broker;
    let has_cause = match (bad.code.as_str(), bad.field.as_deref()) {
        ("unknown_broker", _) => !instruments.iter().any(of_broker),
        ("unsupported_pair", _) => instrument.is_none(),
        ("invalid_field", Some("venue")) => !instruments
            .iter()
            .any(|one| of_broker(one) && one.venue == intent.venue),
        ("invalid_field", Some("quantity")) => instrument.is_some_and(|one| one.lots(intent.quantity).is_none()),
        ("invalid_field", Some("price")) => intent
            .price
            .is_some_and(|price| instrument.is_some_and(|one| !one.is_on_tick(price))),
        ("reduce_only", _) => intent.reduce_only,
        ("daily_loss_exceeded", _) => {
            let limit = settings.risk.parse_daily_loss_limit().expect("a limit");
            intent.estimated_loss.is_some_and(|loss| loss >= limit.decimal())
        }
        ("invalid_field", Some("time_in_force")) => intent.time_in_force.as_str() == "DAY",
        ("intent_expired", _) => intent.expires_at.is_some_and(|at| at < Timestamp::now()),
        ("mode_mismatch", _) => intent.mode.is_some_and(|mode| mode.as_str() != "paper"),
        ("order_size_exceeded", _) => instrument.is_some_and(|one| intent.quantity > one.max_order_size),
        ("risk_locked", _) => {
            let risk = &intent.risk;
            risk.stop_loss
                .is_some_and(|limit| risk.realized_pnl.is_some_and(|pnl| pnl.negated() >= limit))
        }
        _ => false,
    };
    assert!(has_cause, "{} gives a worker no cause for its error", bad.file);
}

#[test]
fn index_names_every_bad_example_once() {
    let mut named: Vec<String> = index().into_iter().map(|bad| bad.file).collect();
    named.sort();
    let there: Vec<String> = files(BAD).into_iter().map(|(file, _)| file).collect();
    assert_eq!(named, there);
}
