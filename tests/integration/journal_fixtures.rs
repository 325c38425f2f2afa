//! Journals of earlier releases, as files: every release replays them to the same sums, ids, locks and state.
//!
//! A fixture is never changed. A release that writes its journal in another way adds one:
//! `UPDATE_FIXTURES=journal-2 cargo test --test integration journal_fixtures` records a journal and what it replays to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream;
use order_router::bus::journal::limits::JournaledLimits;
use order_router::bus::stream_entry::StoredEntry;
use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::config::limits::LimitSettings;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use order_router::wire::journal_loss::{JournalChange, JournalLossEvent};
use order_router::wire::journal_report::{JournalReportError, restore_order};
use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;
use order_router::worker::rebuild::fold_journal::decode_entry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::external_venue::{Venue, additional_brokers};
use crate::ledger_view;
use crate::limits_in_force::apply;
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;
use crate::support::process::repository;

/// The header by which the stream recognises a repeated append; the server's other headers belong to one append.
const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The variable that names a fixture to record.
const UPDATE: &str = "UPDATE_FIXTURES";
/// The bytes that damage a report, in turn.
const DAMAGE: &[u8] = b"0x\"}\xff-.T,";

/// One line of a fixture.
#[derive(Debug, Serialize, Deserialize)]
struct FixtureEntry {
    sequence: u64,
    subject: String,
    stored_at: Timestamp,
    headers: BTreeMap<String, String>,
    /// The body's JSON, as text: not a digit of it may change.
    body: String,
}

fn fixture_path(name: &str, extension: &str) -> PathBuf {
    let directory = repository().join("tests/integration/fixtures");
    directory.join(format!("{name}.{extension}"))
}

fn fixture_names() -> Vec<String> {
    let files = std::fs::read_dir(repository().join("tests/integration/fixtures")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
        .collect()
}

fn read_fixture(name: &str) -> Vec<FixtureEntry> {
    let text = std::fs::read_to_string(fixture_path(name, "jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_of_each_release_replays_to_the_same_state() {
    if let Ok(name) = std::env::var(UPDATE) {
        let entries = record().await;
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| serde_json::to_string(entry).unwrap())
            .collect();
        std::fs::write(fixture_path(&name, "jsonl"), lines.join("\n") + "\n").unwrap();
        let state = serde_json::to_string_pretty(&replay(&entries).await).unwrap();
        std::fs::write(fixture_path(&name, "expected.json"), state + "\n").unwrap();
    }
    let names = fixture_names();
    assert!(!names.is_empty());
    for name in names {
        let entries = read_fixture(&name);
        let expected = std::fs::read_to_string(fixture_path(&name, "expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(replay(&entries).await, expected, "{name}");
    }
}

/// Returns what a worker makes of a journal in an empty Redis.
async fn replay(entries: &[FixtureEntry]) -> Value {
    let mut rig = Rig::start().await;
    let limits = entries
        .iter()
        .rfind(|entry| subjects::parse_event_kind(&entry.subject) == Some(subjects::LIMITS_EVENT_KIND))
        .unwrap();
    let limits = JournaledLimits::decode(limits.body.clone().into(), limits.sequence).unwrap();
    let limits: LimitSettings = limits.settings().unwrap();
    rig.settings.risk = limits.risk().clone();
    rig.settings.instruments = limits.instruments().clone();
    rig.settings.accounts = limits.accounts().clone();
    rig.apply_topology().await;
    let client = rig.caller().await;
    let jetstream = jetstream::new(client.raw.clone());
    for entry in entries {
        let mut headers = HeaderMap::new();
        for (name, value) in &entry.headers {
            headers.insert(name.as_str(), value.as_str());
        }
        let published = jetstream.publish_with_headers(entry.subject.clone(), headers, entry.body.clone().into());
        assert_eq!(published.await.unwrap().await.unwrap().sequence, entry.sequence);
    }
    // The fixture's trading day is in force.
    let last = entries.last().unwrap();
    let now = last.stored_at;
    let worker = Worker::start_with_clock(&rig.settings, Arc::new(move || now))
        .await
        .unwrap();
    let state = snapshot(&rig, &client, entries).await;
    worker.drain(SOON).await;
    let extent = client.reader.read_extent().await.unwrap();
    assert_eq!(extent.last_sequence, last.sequence, "the replay has appended something");
    state
}

/// Returns the sums, ids, locks and state, whatever keys they are in.
async fn snapshot(rig: &Rig, client: &Client, entries: &[FixtureEntry]) -> Value {
    let store = rig.store().await;
    let is_sum = |field: &str| field != "alerts" && field != "breach";
    let ledgers: BTreeMap<_, _> = store
        .iter()
        .filter(|(key, _)| ledger_view::is_ledger(key))
        .map(|(key, fields)| {
            let sums: BTreeMap<_, _> = fields.iter().filter(|(field, _)| is_sum(field)).collect();
            (key, sums)
        })
        .collect();
    let locks: Vec<&String> = store.get("latches").into_iter().flat_map(BTreeMap::keys).collect();
    let set_by_operators: BTreeMap<_, _> = store["state"]
        .iter()
        .filter(|(field, _)| !["generation", "doc"].contains(&field.as_str()))
        .collect();
    let mut orders = BTreeMap::new();
    for entry in entries.iter().filter(|entry| subjects::is_report(&entry.subject)) {
        let report = ExecutionReport::decode(entry.body.as_bytes()).unwrap();
        let (broker, account) = (
            BrokerId::new(&report.broker).unwrap(),
            AccountId::new(&report.account_id).unwrap(),
        );
        for name in [
            json!({"order_id": report.order_id}),
            json!({"client_order_id": report.client_order_id}),
        ] {
            let subject = subjects::get(&broker, Some(&account));
            let current = client.call(&subject, &name.to_string()).await.unwrap();
            let current = ExecutionReport::decode(&current).unwrap();
            orders.insert(
                name.to_string(),
                json!([
                    current.order_id,
                    current.status,
                    current.version,
                    current.filled_quantity.to_string()
                ]),
            );
        }
    }
    let adjustments: Vec<&String> = store.keys().filter(|key| key.starts_with("adjustment:")).collect();
    let open: BTreeMap<_, usize> = store
        .iter()
        .filter(|(key, _)| key.starts_with("open:"))
        .map(|(key, orders)| (key, orders.len()))
        .collect();
    assert!(!store.contains_key("outbox") && !store.contains_key("leases"));
    json!({
        "ledgers": ledgers,
        "locks": locks,
        "state": set_by_operators,
        "limits": store["meta"]["limits_hash"],
        "orders": orders,
        "open": open,
        "adjustments": adjustments,
    })
}

/// Records a journal with an entry of every kind.
async fn record() -> Vec<FixtureEntry> {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let venue = Venue::new();
    let worker = Worker::start_with_brokers(&rig.settings, additional_brokers(&venue))
        .await
        .unwrap();
    let client = rig.caller().await;
    record_paper_orders(&client).await;
    record_venue_orders(&client, &venue).await;
    record_operator_changes(&rig, &client).await;
    rig.quiet().await;
    worker.drain(SOON).await;
    let extent = client.reader.read_extent().await.unwrap();
    let loss = JournalLossEvent {
        event: JournalChange::LossAccepted,
        first_sequence: 1,
        last_sequence: extent.last_sequence,
        missing_entries: 0,
        actor: "ann".to_owned(),
        reason: "an entry of every kind".to_owned(),
        timestamp: Timestamp::now(),
    };
    let jetstream = jetstream::new(client.raw.clone());
    let subject = subjects::event(subjects::JOURNAL_EVENT_KIND, None);
    let published = jetstream
        .publish(subject, serde_json::to_vec(&loss).unwrap().into())
        .await;
    published.unwrap().await.unwrap();
    let stream = jetstream.get_stream(subjects::STREAM_REPORTS).await.unwrap();
    let mut entries = Vec::new();
    for sequence in 1..=extent.last_sequence + 1 {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let headers = message.headers.iter().flat_map(|(name, values)| {
            let value = values.first().map(ToString::to_string);
            value.map(|value| (name.to_string(), value))
        });
        let is_kept = |name: &str| name == MESSAGE_ID || !name.starts_with("Nats-");
        entries.push(FixtureEntry {
            sequence,
            subject: message.subject.to_string(),
            stored_at: Timestamp::from_microseconds(
                i64::try_from(message.time.unix_timestamp_nanos() / 1_000).unwrap(),
            ),
            headers: headers.filter(|(name, _)| is_kept(name)).collect(),
            body: String::from_utf8(message.payload.to_vec()).unwrap(),
        });
    }
    entries
}

async fn record_paper_orders(client: &Client) {
    client.report(&ibkr("open", &[])).await;
    client
        .report(&ibkr("short", &[("side", "\"sell\""), ("account_id", "\"fund\"")]))
        .await;
    client
        .report(&ibkr("ioc", &[("time_in_force", "\"IOC\""), ("quantity", "7.5")]))
        .await;
    let reduced = [
        ("side", "\"sell\""),
        ("quantity", "3"),
        ("reduce_only", "true"),
        ("time_in_force", "\"IOC\""),
    ];
    client.report(&ibkr("reduced", &reduced)).await;
    client.report(&ibkr("cancelled", &[])).await;
    let cancelled = client
        .order("cancel", "ibkr", r#"{"client_order_id":"cancelled"}"#)
        .await;
    cancelled.unwrap();
    client.fault(&ibkr("denied", &[("quantity", "100000")])).await;
    let tagged = [("tags", r#"["strategy:trend"]"#)];
    let report = client.report(&ibkr("tagged", &tagged)).await;
    let note = json!({"note_id": "0195561f-2a00-7c3e-9d1b-2f4a6c8e0d13", "order_id": report.order_id, "notes": "a note",
        "actor": "ann"});
    let (broker, account) = (BrokerId::new("ibkr").unwrap(), AccountId::new("default").unwrap());
    client
        .call(&subjects::note(&broker, &account), &note.to_string())
        .await
        .unwrap();
}

async fn record_venue_orders(client: &Client, venue: &Venue) {
    client.report(&intent("v-filled", &[])).await;
    venue.set(|venue| venue.keeps_open = true);
    client.report(&intent("v-open", &[("price", "29000")])).await;
    venue.set(|venue| (venue.keeps_open, venue.rejects) = (false, true));
    client.report(&intent("v-rejected", &[])).await;
    venue.set(|venue| (venue.rejects, venue.unreachable) = (false, true));
    client.submit(&intent("v-released", &[])).await.unwrap_err();
    venue.set(|venue| (venue.unreachable, venue.drops_replies) = (false, true));
    // The venue has it: an inquiry finds the fill.
    client.submit(&intent("v-unknown", &[])).await.unwrap();
    venue.set(|venue| venue.drops_replies = false);
    poll::until(SOON, "the unknown order is found", async || {
        let name = r#"{"client_order_id":"v-unknown"}"#;
        let report = client.order("get", "binance", name).await.unwrap();
        report.version == 2
    })
    .await;
}

async fn record_operator_changes(rig: &Rig, client: &Client) {
    let audit = |mut body: Value| {
        body["actor"] = "ann".into();
        body["reason"] = "a fixture".into();
        body.to_string()
    };
    for adjustment in [
        json!({"adjustment_id": "p1", "account_id": "fund", "venue": "ibkr.paper", "symbol": "MSFT",
            "quantity": "0.12345678", "price": "300"}),
        json!({"adjustment_id": "c1", "account_id": "fund", "cash": "-12.5"}),
    ] {
        client.call(subjects::ADJUST, &audit(adjustment)).await.unwrap();
    }
    client
        .call(subjects::STATE_SET, &audit(json!({"daily_loss_limit": 45000})))
        .await
        .unwrap();
    for account in ["fund", "other"] {
        let scope = json!({"scope": {"kind": "account", "account_id": account}});
        client.call(subjects::LOCKS_SET, &audit(scope)).await.unwrap();
    }
    let lift = audit(json!({"latch_id": "paper.account.other.operator"}));
    client.call(subjects::LOCKS_LIFT, &lift).await.unwrap();
    let mut limits = rig.settings.clone();
    limits.risk.price_collar_percent = 25;
    apply(client, &limits).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), rig.quiet())
        .await
        .unwrap();
}

#[test]
fn fixtures_have_an_entry_of_every_kind() {
    let names = fixture_names();
    assert!(!names.is_empty());
    for name in names {
        let entries = read_fixture(&name);
        let kinds: std::collections::BTreeSet<&str> = entries
            .iter()
            .map(|entry| subjects::parse_event_kind(&entry.subject).unwrap_or("report"))
            .collect();
        for kind in [
            "report",
            "limits",
            "day",
            "state",
            "lock",
            "note",
            "submitting",
            "released",
            "adjustment",
            "journal",
        ] {
            assert!(kinds.contains(kind), "{name} has no {kind}: {kinds:?}");
        }
    }
}

#[test]
fn damaged_report_is_refused_by_name_exactly_where_no_order_can_be_restored_from_it() {
    let (mut read, mut refused) = (0, 0);
    for name in fixture_names() {
        let entries = read_fixture(&name);
        for entry in entries.iter().filter(|entry| subjects::is_report(&entry.subject)) {
            let body = entry.body.as_bytes();
            assert!(is_read(entry, body), "{}", entry.body);
            for (at, damage) in (0..body.len()).step_by(3).zip(DAMAGE.iter().cycle()) {
                let mut damaged = body.to_vec();
                damaged[at] = *damage;
                *(if is_read(entry, &damaged) {
                    &mut read
                } else {
                    &mut refused
                }) += 1;
                assert!(at == 0 || !is_read(entry, &body[..at]), "cut at {at}");
            }
        }
    }
    // A damaged text may still be one; a damaged name, number or time is none.
    assert!(read > 100 && refused > 100, "{read} {refused}");
}

/// Reports whether a rebuild reads a report, after a comparison with the plain decoding of all of it: either reads the same,
/// or refuses it for the same reason.
fn is_read(entry: &FixtureEntry, body: &[u8]) -> bool {
    let plain: Result<ExecutionReport, _> = serde_json::from_slice(body);
    let plain = plain.map_err(|error| error.to_string());
    let decoded = ExecutionReport::decode(body).map_err(|error| error.to_string());
    assert_eq!(decoded, plain);
    let unreadable = |problem| JournalReportError {
        order_id: "?".to_owned(),
        problem,
    };
    let restored = plain.map_err(unreadable).and_then(restore_order);
    let moved = restored
        .map_err(|error| error.to_string())
        .and_then(|(_, settlement)| SumDeltas::try_from(settlement.deltas).map_err(|error| error.to_string()));
    let folded = decode_entry(Ok(StoredEntry {
        subject: entry.subject.clone(),
        sequence: entry.sequence,
        body: body.to_vec().into(),
        stored_at: entry.stored_at,
    }));
    match (moved, folded) {
        (Ok(_), Ok(_)) => true,
        (Err(problem), Err(error)) => {
            let named = format!("the journal's entry {}: {problem}", entry.sequence);
            assert_eq!(error.to_string(), named);
            false
        }
        (moved, folded) => panic!("{moved:?}, but a rebuild: {:?}", folded.err()),
    }
}
