//! Notes on orders: journaled before they are confirmed, once per id, and without effect on the store.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::bus::request::BusReply;
use order_router::bus::router_client::RequestError;
use order_router::bus::stream_entry::StoredEntry;
use order_router::bus::subjects;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::time::Timestamp;
use order_router::fault::{Fault, FaultCode};
use order_router::wire::note::NoteEvent;
use serde_json::{Value, json};

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

const NOTE_ID: &str = "0195561f-2a00-7c3e-9d1b-2f4a6c8e0d13";

async fn add_note(client: &Client, broker: &str, body: &Value) -> Result<BusReply, RequestError> {
    let (broker, account) = (BrokerId::new(broker).unwrap(), AccountId::new("fund").unwrap());
    let deadline = Timestamp::now().saturating_add(Duration::from_secs(10));
    let body = body.to_string().into();
    client
        .caller
        .request(&subjects::note(&broker, &account), body, deadline)
        .await
}

async fn fault(client: &Client, broker: &str, body: &Value) -> Fault {
    match add_note(client, broker, body).await {
        Err(RequestError::Fault(fault)) => fault,
        other => panic!("{body}: {other:?}"),
    }
}

async fn journaled(client: &Client) -> Vec<StoredEntry> {
    let mut entries = client.journal().await;
    entries.retain(|entry| subjects::parse_event_kind(&entry.subject) == Some(subjects::NOTE_EVENT_KIND));
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn note_is_journaled_once_and_its_reply_is_the_journaled_event() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let report = client.report(&intent("n1", &[("account_id", "\"fund\"")])).await;
    rig.quiet().await;
    let store = rig.store().await;

    let body = json!({"note_id": NOTE_ID, "order_id": report.order_id, "notes": "two\nlines\tand a tab", "tags": ["Late"],
        "actor": "mira"});
    let reply = add_note(&client, "binance", &body).await.unwrap();
    let event = NoteEvent::decode(&reply.body).unwrap();
    assert_eq!(
        (
            event.order_id.as_str(),
            event.account_id.as_str(),
            event.broker.as_str()
        ),
        (report.order_id.as_str(), "fund", "binance")
    );
    assert_eq!(
        (event.notes.as_deref(), event.tags.as_slice(), event.actor.as_str()),
        (Some("two\nlines\tand a tab"), ["Late".to_owned()].as_slice(), "mira")
    );
    assert!(!reply.is_replay);
    let [entry] = journaled(&client).await.try_into().unwrap();
    assert_eq!(entry.subject, "orders.events.note.fund");
    assert_eq!(
        (entry.body.to_vec(), Some(entry.sequence)),
        (reply.body.clone(), reply.journal_sequence)
    );

    // A repeated request returns the same reply, its timestamp included, and is journaled once.
    let again = add_note(&client, "binance", &body).await.unwrap();
    assert_eq!(
        (&again.body, again.journal_sequence),
        (&reply.body, reply.journal_sequence)
    );
    assert!(again.is_replay);
    assert_eq!(journaled(&client).await.len(), 1);

    // Other content under the id is appended after it: readers of the journal count the first. A missing id is assigned,
    // and a note on an unknown order is kept as well.
    let other = json!({"note_id": NOTE_ID, "order_id": report.order_id, "tags": ["other"], "actor": "mira"});
    assert!(add_note(&client, "binance", &other).await.unwrap().journal_sequence > reply.journal_sequence);
    let unknown = json!({"order_id": "IB-0", "tags": ["other"], "actor": "mira"});
    let assigned = NoteEvent::decode(&add_note(&client, "ibkr", &unknown).await.unwrap().body).unwrap();
    assert_eq!((assigned.note_id.get_version_num(), assigned.notes), (7, None));
    assert_eq!(journaled(&client).await.len(), 3);
    assert_eq!(rig.store().await, store);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_or_unstorable_note_is_refused_with_its_cause() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let nothing = json!({"note_id": NOTE_ID, "order_id": "BN-1", "actor": "mira"});
    let refused = fault(&client, "binance", &nothing).await;
    assert_eq!(
        (refused.code, refused.field.as_deref()),
        (FaultCode::InvalidField, Some("notes"))
    );
    let whole = json!({"note_id": NOTE_ID, "order_id": "BN-1", "notes": "x", "actor": "mira"});
    let refused = fault(&client, "kraken", &whole).await;
    assert_eq!(
        (refused.code, refused.field.as_deref()),
        (FaultCode::UnknownBroker, Some("broker"))
    );

    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::new("fund").unwrap());
    let (subject, past) = (subjects::note(&broker, &account), Timestamp::now());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let late = client
        .caller
        .request_with_timeout(SOON, &subject, whole.to_string().into(), past, trace)
        .await;
    assert!(
        matches!(late, Err(RequestError::Fault(ref fault)) if fault.code == FaultCode::IntentExpired),
        "{late:?}"
    );

    // The heartbeat checks the journal repeatedly and reopens the intake while there is room.
    let refused = poll::eventually(SOON, "the journal accepts nothing more", async || {
        worker.router().journal_capacity.mark_unavailable();
        match add_note(&client, "binance", &whole).await {
            Err(RequestError::Fault(fault)) => Some(fault),
            _ => None,
        }
    })
    .await;
    assert_eq!(refused.code, FaultCode::PersistenceFailed);
    assert_eq!(refused.metadata.text("note_id"), Some(NOTE_ID));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_skips_notes() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let body = intent("h1", &[("account_id", "\"fund\"")]);
    let report = client.report(&body).await;
    let note = json!({"order_id": report.order_id, "notes": "x", "actor": "mira"});
    add_note(&client, "binance", &note).await.unwrap();
    client.report(&intent("h2", &[("account_id", "\"fund\"")])).await;
    rig.quiet().await;
    let position = || rig.sum("sums:paper:fund:binance.spot:BTCUSDT", "position");
    assert_eq!(position().await, 200);
    let mut connection = rig.redis.connection().await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    let again = poll::eventually(SOON, "the order is known again", async || {
        client.submit(&body).await.ok()
    })
    .await;
    assert!(again.is_replay);
    assert_eq!(position().await, 200);
    worker.drain(SOON).await;
}
