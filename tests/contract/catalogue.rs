//! `subjects/README.md` and `subjects/asyncapi.yaml` name exactly the subjects, streams and headers of the code; the
//! table of errors matches the code.

use order_router::bus::request::Endpoint;
use order_router::bus::{headers, subjects};
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::reason::ReasonCode;
use order_router::domain::rule_signal::SignalLevel;
use order_router::fault::{AckType, FaultCode};
use order_router::wire::balance::BALANCE_EVENT_KIND;
use order_router::wire::environment::ENVIRONMENT_EVENT_KIND;
use order_router::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND};

use crate::generated::{assert_part, table, text};
use crate::schemas;

const CATALOGUE: &str = "subjects/README.md";
const ASYNCAPI: &str = "subjects/asyncapi.yaml";
const NAMES: &str = "clients/rust/src/bus/subjects.rs";

/// The prefixes of subjects.
const SUBJECTS: &[&str] = &["orders.", "router.", "risk.", "market."];
/// Names in [`NAMES`] that open or bound other subjects, or that nothing serves.
const NO_SUBJECTS: &[&str] = &[
    // Messages that a connection sends to itself.
    "router.fence.",
    "orders.heartbeat.",
    "orders.intents.",
    "orders.replies.",
    "market.quotes.>",
    "orders.events.>",
    // The account, or `_`.
    "orders.events.{}.{}",
    // Patterns to subscribe to, and to read the journal by.
    "orders.events.{}.*",
    "orders.events.*.{}",
];
/// Headers that clients read or write.
const HEADERS: &[&str] = &[
    headers::DEADLINE,
    headers::REPLY_TO,
    headers::TRACEPARENT,
    headers::JOURNAL_SEQUENCE,
    headers::IDEMPOTENT_REPLAY,
    headers::SERVICE_ERROR_CODE,
    headers::SERVICE_ERROR,
    headers::MESSAGE_ID,
    headers::DEAD_SUBJECT,
    headers::DEAD_DELIVERIES,
    headers::ARCHIVE_MANIFEST,
    headers::SNAPSHOT_CHECKSUM,
];

/// Every subject as the documents write it, built by the functions of the code.
fn addresses() -> Vec<String> {
    let (broker, account) = (BrokerId::new("BROKER").unwrap(), AccountId::new("ACCOUNT").unwrap());
    let made = [
        subjects::submit(&broker, &account),
        subjects::intent(&broker, &account),
        subjects::get(&broker, Some(&account)),
        subjects::cancel(&broker, Some(&account)),
        subjects::replace(&broker, Some(&account)),
        subjects::cancel_all(&broker, &account),
        subjects::heartbeat(&account),
        subjects::note(&broker, &account),
        subjects::STATE_GET.to_owned(),
        subjects::STATE_SET.to_owned(),
        subjects::LIMITS_GET.to_owned(),
        subjects::LIMITS_SET.to_owned(),
        subjects::ADJUST.to_owned(),
        subjects::LOCKS_LIST.to_owned(),
        subjects::LOCKS_SET.to_owned(),
        subjects::LOCKS_LIFT.to_owned(),
        subjects::BROKERS.to_owned(),
        subjects::HEALTH.to_owned(),
        subjects::report(&broker, &account),
        subjects::event(subjects::STATE_EVENT_KIND, None),
        subjects::event(subjects::LIMITS_EVENT_KIND, None),
        subjects::event(subjects::LOCK_EVENT_KIND, Some(&account)),
        subjects::event(subjects::HEARTBEAT_EVENT_KIND, Some(&account)),
        subjects::event(subjects::NOTE_EVENT_KIND, Some(&account)),
        subjects::event(SUBMITTING_EVENT_KIND, Some(&account)),
        subjects::event(RELEASED_EVENT_KIND, Some(&account)),
        subjects::adjustment(&account),
        subjects::event("day", None),
        subjects::event(subjects::JOURNAL_EVENT_KIND, None),
        subjects::named_event(BALANCE_EVENT_KIND, "KEY"),
        subjects::named_event(ENVIRONMENT_EVENT_KIND, "BROKER"),
        subjects::dead_letter("REASON"),
        subjects::ARCHIVE_SEGMENTS.to_owned(),
        subjects::snapshot_part(0).replace(".0", ".{slot}"),
        subjects::snapshot_manifest(0).replace(".0", ".{slot}"),
        subjects::alert("LEVEL", Some(&account)),
        subjects::quote("VENUE", "SYMBOL"),
    ];
    let written = |subject: String| {
        let names = [
            ("BROKER", "{broker}"),
            ("ACCOUNT", "{account}"),
            ("REASON", "{reason}"),
            ("KEY", "{key}"),
            ("LEVEL", "{level}"),
            ("VENUE", "{venue}"),
            ("SYMBOL", "{symbol}"),
        ];
        names
            .iter()
            .fold(subject, |subject, (from, to)| subject.replace(from, to))
    };
    made.into_iter().map(written).collect()
}

/// Whether the documents name a subject or a pattern of subjects.
fn is_named(pattern: &str) -> bool {
    let fits = |address: &String| {
        let (mut wanted, mut tokens) = (pattern.split('.'), address.split('.'));
        loop {
            match (wanted.next(), tokens.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some(one), Some(other)) if one == other || [one, other].iter().any(|token| token.starts_with('{')) => {
                }
                _ => return false,
            }
        }
    };
    addresses().iter().any(fits)
}

/// Returns the texts in double quotes outside of the tests of a source.
fn literals(source: &str) -> Vec<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    code.split('"').skip(1).step_by(2).collect()
}

#[test]
fn documents_name_exactly_the_subjects_of_the_code() {
    let (catalogue, asyncapi) = (text(CATALOGUE), text(ASYNCAPI));
    let mut in_asyncapi: Vec<&str> = asyncapi
        .lines()
        .filter_map(|line| line.trim().strip_prefix("address: "))
        .filter(|address| address.contains('.'))
        .collect();
    let mut in_catalogue: Vec<&str> = catalogue
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| SUBJECTS.iter().any(|start| name.starts_with(start)))
        .collect();
    let mut wanted = addresses();
    wanted.sort();
    in_asyncapi.sort_unstable();
    in_catalogue.sort_unstable();
    assert_eq!(in_asyncapi, wanted, "{ASYNCAPI}");
    assert_eq!(in_catalogue, wanted, "{CATALOGUE}");
}

#[test]
fn documents_name_every_subject_stream_and_header() {
    let (catalogue, asyncapi, source) = (text(CATALOGUE), text(ASYNCAPI), text(NAMES));
    for literal in literals(&source) {
        let is_subject = SUBJECTS.iter().any(|start| literal.starts_with(start));
        if is_subject && !NO_SUBJECTS.contains(&literal) {
            let pattern = literal
                .replace("{INTENTS_PREFIX}", "orders.intents.")
                .replace("{HEARTBEAT_PREFIX}", "orders.heartbeat.")
                .replace("{}", "state");
            assert!(
                is_named(&pattern),
                "{literal} of {NAMES} is no subject of {CATALOGUE} and {ASYNCAPI}"
            );
        }
    }
    for endpoint in Endpoint::ALL {
        assert!(is_named(endpoint.subject()), "{}", endpoint.subject());
    }
    let streams = literals(&source)
        .into_iter()
        .filter(|name| name.starts_with("ORDER_") || name.starts_with("RISK_"));
    for name in streams.chain(HEADERS.iter().copied()) {
        assert!(
            catalogue.contains(&format!("`{name}`")),
            "{CATALOGUE} does not name {name}"
        );
        assert!(asyncapi.contains(name), "{ASYNCAPI} does not name {name}");
    }
}

#[test]
fn documents_name_every_schema_status_level_and_reason() {
    let (catalogue, asyncapi) = (text(CATALOGUE), text(ASYNCAPI));
    for (name, _) in schemas::all() {
        assert!(
            catalogue.contains(&format!("(schemas/{name}.schema.json)")),
            "{CATALOGUE} does not link {name}"
        );
        assert!(
            asyncapi.contains(&format!("./schemas/{name}.schema.json")),
            "{ASYNCAPI} does not use {name}"
        );
    }
    let levels = [SignalLevel::Alert, SignalLevel::Lock].map(SignalLevel::as_str);
    let statuses = OrderStatus::ALL.iter().map(|status| status.as_str());
    for name in statuses.chain(levels) {
        assert!(
            catalogue.contains(&format!("`{name}`")),
            "{CATALOGUE} does not explain {name}"
        );
    }
    for code in [
        ReasonCode::TimeInForce,
        ReasonCode::CancelRequested,
        ReasonCode::CancelledNotPlaced,
        ReasonCode::NotReplaced,
        ReasonCode::EndOfDay,
        ReasonCode::BrokerRejected,
        ReasonCode::NotPlaced,
        ReasonCode::InFlight,
        ReasonCode::OutcomeUnknown,
        ReasonCode::NotJournaled,
    ] {
        let name = serde_json::to_value(code).expect("a name");
        let name = name.as_str().expect("a name");
        assert!(
            catalogue.contains(&format!("`{name}`")),
            "{CATALOGUE} does not explain {name}"
        );
    }
}

#[test]
fn error_table_matches_the_code() {
    let rows = FaultCode::ALL.iter().map(|code| {
        let delivery = match code.ack_type() {
            AckType::Ack => "acknowledged: the denial is recorded",
            AckType::Nak => "redelivered",
            AckType::Term => "dead letter",
        };
        let retry = if code.is_retryable() { "yes" } else { "no" };
        vec![
            code.status().to_string(),
            format!("`{}`", code.as_str()),
            code.title().to_owned(),
            delivery.to_owned(),
            retry.to_owned(),
        ]
    });
    let head = ["status", "code", "title", "on the durable door", "retryable"];
    assert_part(CATALOGUE, "errors", &table(&head, rows));
}
