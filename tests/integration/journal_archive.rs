//! The journal's archive: nothing is dropped that the archive has not confirmed, and both are read as one journal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use order_router::bus::connection::{Bus, BusError};
use order_router::bus::journal::{
    ArchiveAudit, ArchiveError, DroppedEntries, JournalArchiver, JournalEntry, JournalReader, JournalWriter,
};
use order_router::bus::stream_entry::StoredEntry;
use order_router::bus::{subjects, topology};
use order_router::config::brokers::RestFill;
use order_router::config::journal::JournalSettings;
use order_router::config::nats::NatsSettings;
use order_router::domain::id::BrokerId;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::time::Timestamp;
use serde_json::{Value, json};

use crate::bus_fixture::{bare, broker, doors, settings};
use crate::rest_router::{Router, get, order, texts};
use crate::rig::{Rig, SOON, ibkr, intent};
use crate::support::poll;
use crate::support::servers::NatsServer;
use crate::worker_firsts::assert_rebuild_is_equal;

/// The journal's duplicate window in these tests, in seconds: younger entries cannot be archived.
const DUPLICATE_WINDOW_S: u64 = 1;
const SUBJECT: &str = "orders.reports.binance.a1";

async fn archiver(bus: &Bus, before: Timestamp) -> Result<JournalArchiver, ArchiveError> {
    let audit = ArchiveAudit {
        actor: "mira".to_owned(),
        reason: "year's end".to_owned(),
    };
    JournalArchiver::open(bus.clone(), before, audit).await
}

/// Returns the journal's newest entry, once every older one can be archived.
async fn old_enough(bus: &Bus) -> StoredEntry {
    let reader = JournalReader::new(bus.clone());
    let last = reader.read_extent().await.unwrap().last_sequence;
    let newest = reader.read_entry(last).await.unwrap().unwrap();
    wait_for_window(newest.stored_at).await;
    newest
}

async fn wait_for_window(stored_at: Timestamp) {
    let end = stored_at.saturating_add(Duration::from_secs(DUPLICATE_WINDOW_S));
    poll::until(SOON, "the duplicate window is over", async || Timestamp::now() > end).await;
}

/// Archives everything but the newest entry. Returns how many entries the journal dropped.
async fn archive_all(bus: &Bus) -> u64 {
    let archiver = archiver(bus, old_enough(bus).await.stored_at).await.unwrap();
    archiver.write_segments().await.unwrap();
    archiver.drop_archived().await.unwrap().entries
}

/// Creates the archive, which workers do not.
async fn create_archive(rig: &Rig) {
    let brokers = ["binance", "ibkr"].map(|name| BrokerId::new(name).unwrap());
    topology::apply(&rig.bus().await, &rig.settings.nats, &rig.settings.doors, &brokers)
        .await
        .unwrap();
}

/// A journal of bare entries.
struct Journal {
    server: NatsServer,
    bus: Bus,
    writer: JournalWriter,
}

impl Journal {
    async fn start() -> Self {
        let server = NatsServer::start().await;
        let bus = bare(&server).await;
        let journal = Self {
            writer: JournalWriter::start(bus.clone(), JournalSettings::default()).0,
            server,
            bus,
        };
        journal.apply_topology().await;
        journal
    }

    async fn apply_topology(&self) {
        let settings = NatsSettings {
            duplicate_window_s: DUPLICATE_WINDOW_S,
            ..settings(&self.server)
        };
        topology::apply(&self.bus, &settings, &doors(), &[broker()])
            .await
            .unwrap();
    }

    async fn append(&self, bodies: Vec<Bytes>) {
        let entries = bodies.into_iter().map(|body| JournalEntry {
            subject: SUBJECT.to_owned(),
            message_id: uuid::Uuid::new_v4().to_string(),
            body,
            headers: vec![("traceparent".to_owned(), "00-1-2-01".to_owned())],
        });
        for appended in join_all(entries.map(|entry| self.writer.append(entry))).await {
            appended.unwrap();
        }
    }

    async fn append_numbered(&self, count: usize) {
        self.append((0..count).map(|number| format!("{{\"n\":{number}}}").into()).collect())
            .await;
    }

    /// Returns every entry, as a reader that has read nothing before.
    async fn all(&self) -> Result<Vec<StoredEntry>, BusError> {
        let reader = JournalReader::new(self.bus.clone());
        let last = reader.read_extent().await?.last_sequence;
        reader.replay(1, last).try_collect().await
    }

    /// Returns the journal's own first sequence, and the one from which on archive and journal have every entry.
    async fn firsts(&self) -> (u64, u64) {
        let reader = JournalReader::new(self.bus.clone());
        let own = reader.read_extent().await.unwrap().first_sequence;
        (own, reader.first_covered_sequence().await.unwrap())
    }

    async fn stream(&self, name: &str) -> jetstream::stream::Stream {
        let client = async_nats::connect(self.server.url()).await.unwrap();
        jetstream::new(client).get_stream(name).await.unwrap()
    }

    /// Changes one byte of the archive's only segment.
    async fn damage_segment(&self) {
        let segment = self
            .stream(subjects::STREAM_ARCHIVE)
            .await
            .get_raw_message(1)
            .await
            .unwrap();
        let context = jetstream::new(async_nats::connect(self.server.url()).await.unwrap());
        context.delete_stream(subjects::STREAM_ARCHIVE).await.unwrap();
        self.apply_topology().await;
        let mut body = segment.payload.to_vec();
        *body.last_mut().unwrap() ^= 1;
        let sent = context.publish_with_headers(subjects::ARCHIVE_SEGMENTS, segment.headers, body.into());
        sent.await.unwrap().await.unwrap();
    }

    /// Runs `order-router journal archive` and returns what it prints.
    async fn command(&self, before: &str) -> Value {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
        let words = "journal archive --json --actor mira --reason test --before";
        command
            .args(["--nats-url", &self.server.url()])
            .args(words.split(' '))
            .arg(before)
            .kill_on_drop(true);
        let output = tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn dropped(entries: u64) -> DroppedEntries {
    DroppedEntries {
        entries,
        last_sequence: (entries > 0).then_some(entries),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_entries_are_read_as_before() {
    let journal = Journal::start().await;
    journal.append_numbered(5_000).await;
    let before = journal.all().await.unwrap();
    assert_eq!(archive_all(&journal.bus).await, 4_999);
    assert_eq!(journal.firsts().await, (5_000, 1));
    assert_eq!(journal.all().await.unwrap(), before);
    let reader = JournalReader::new(journal.bus.clone());
    for sequence in [1, 4_096, 4_097, 4_999, 5_000] {
        let entry = reader.read_entry(sequence).await.unwrap().unwrap();
        assert_eq!(entry, before[usize::try_from(sequence).unwrap() - 1]);
    }
    assert_eq!(reader.read_entry(5_001).await.unwrap(), None);
    assert_eq!(reader.read_last_for_subject("orders.reports.x.y").await.unwrap(), None);
    let next = reader
        .read_next_for_subject("orders.reports.*.a1", 17, 1)
        .await
        .unwrap()
        .pop();
    assert_eq!(next.unwrap(), before[16]);
    let part: Vec<_> = reader.replay(4_990, 5_000).try_collect().await.unwrap();
    assert_eq!(part, before[4_989..]);
    // A later archive continues after the first, with segments of its own.
    journal.append_numbered(10).await;
    let before = journal.all().await.unwrap();
    assert_eq!(archive_all(&journal.bus).await, 10);
    assert_eq!(journal.firsts().await, (5_010, 1));
    assert_eq!(journal.all().await.unwrap(), before);
    // The reader that has read the archive before finds the new segments.
    assert_eq!(reader.read_entry(5_005).await.unwrap().unwrap(), before[5_004]);
    let archive = journal.stream(subjects::STREAM_ARCHIVE).await;
    assert_eq!(archive.cached_info().state.messages, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_fit_into_messages_and_keep_every_byte() {
    let journal = Journal::start().await;
    // Bytes that cannot be compressed, and that are no text.
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let bodies: Vec<Bytes> = (0..21).map(|_| (0..100_000).map(|_| next()).collect()).collect();
    journal.append(bodies).await;
    let before = journal.all().await.unwrap();
    assert_eq!(archive_all(&journal.bus).await, 20);
    assert_eq!(journal.all().await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn younger_and_unconfirmed_entries_are_never_dropped() {
    let journal = Journal::start().await;
    journal.append_numbered(10).await;
    let tenth = old_enough(&journal.bus).await.stored_at;
    journal.append_numbered(10).await;
    let eleventh = JournalReader::new(journal.bus.clone()).read_entry(11).await.unwrap();
    let eleventh = eleventh.unwrap().stored_at;
    // Within the duplicate window, an entry guards against its repetition.
    let too_young = archiver(&journal.bus, Timestamp::now()).await.unwrap_err();
    assert!(matches!(too_young, ArchiveError::TooYoung(_)), "{too_young}");
    old_enough(&journal.bus).await;
    // Without a segment, nothing is dropped.
    let whole = archiver(&journal.bus, eleventh.saturating_add(Duration::from_micros(1)))
        .await
        .unwrap();
    assert_eq!(whole.drop_archived().await.unwrap(), dropped(0));
    let part = archiver(&journal.bus, tenth).await.unwrap();
    let written = part.write_segments().await.unwrap();
    assert!((1..10).contains(&written.entries), "{written:?}");
    // The archive has fewer entries than the time allows.
    assert_eq!(whole.drop_archived().await.unwrap(), dropped(written.entries));
    // The archive has more entries than the time allows.
    let rest = whole.write_segments().await.unwrap();
    assert!(written.entries + rest.entries >= 11);
    assert_eq!(part.drop_archived().await.unwrap(), DroppedEntries::default());
    assert_eq!(journal.firsts().await, (written.entries + 1, 1));
    assert_eq!(journal.all().await.unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_after_a_kill_continues_and_a_second_run_changes_nothing() {
    let journal = Journal::start().await;
    journal.append_numbered(100).await;
    let before = journal.all().await.unwrap();
    // Killed after a part of the segments, and again after all of them: nothing is dropped yet.
    let newest = old_enough(&journal.bus).await;
    let middle = before[50].stored_at;
    let part = archiver(&journal.bus, middle).await.unwrap().write_segments().await;
    let part = part.unwrap().entries;
    let rest = archiver(&journal.bus, newest.stored_at)
        .await
        .unwrap()
        .write_segments()
        .await;
    let rest = rest.unwrap().entries;
    assert_eq!(part + rest, 99);
    assert_eq!(journal.firsts().await, (1, 1));
    assert_eq!(journal.all().await.unwrap(), before);
    let first = journal.command("1s").await;
    assert_eq!(first["archived"]["entries"], 0);
    assert_eq!(first["dropped"], json!({"entries": 99, "last_sequence": 99}));
    let second = journal.command("1s").await;
    assert_eq!(
        (&second["archived"]["segments"], &second["dropped"]["entries"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(journal.all().await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_archivers_write_no_entry_twice() {
    let journal = Journal::start().await;
    journal.append_numbered(50).await;
    let before = old_enough(&journal.bus).await.stored_at;
    let one = archiver(&journal.bus, before).await.unwrap();
    let other = archiver(&journal.bus, before).await.unwrap();
    let (one, other) = tokio::join!(one.write_segments(), other.write_segments());
    assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
    let archive = journal.stream(subjects::STREAM_ARCHIVE).await;
    assert_eq!(archive.cached_info().state.messages, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_segment_is_refused_by_name_and_nothing_is_dropped() {
    let journal = Journal::start().await;
    journal.append_numbered(5).await;
    let before = old_enough(&journal.bus).await.stored_at;
    let archiver = archiver(&journal.bus, before).await.unwrap();
    archiver.write_segments().await.unwrap();
    let archived = journal.all().await.unwrap();
    journal.damage_segment().await;
    let error = archiver.drop_archived().await.unwrap_err().to_string();
    assert!(error.contains("segment 1-") && error.contains("SHA-256"), "{error}");
    assert_eq!(journal.firsts().await.0, 1);
    assert_eq!(journal.all().await.unwrap(), archived);
    // The same for a reader, once the journal has lost the entries.
    let stream = journal.stream(subjects::STREAM_REPORTS).await;
    stream.purge().sequence(4).await.unwrap();
    let error = journal.all().await.unwrap_err();
    assert!(
        matches!(&error, BusError::ArchiveDamaged { segment, .. } if segment.starts_with("1-")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_in_neither_are_reported_as_missing() {
    let journal = Journal::start().await;
    journal.append_numbered(5).await;
    archive_all(&journal.bus).await;
    journal.append_numbered(5).await;
    journal
        .stream(subjects::STREAM_REPORTS)
        .await
        .purge()
        .sequence(8)
        .await
        .unwrap();
    assert_eq!(journal.firsts().await, (8, 8));
    let gap = BusError::JournalGap { from: 5, to: 7 };
    assert_eq!(journal.all().await.unwrap_err(), gap);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_is_rebuilt_from_archive_and_journal() {
    let mut rig = Rig::start().await;
    rig.settings.nats.duplicate_window_s = DUPLICATE_WINDOW_S;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let set = client.set_state(r#""daily_notional_limit":2000000000"#).await.unwrap();
    client
        .lock(r#"{"kind":"account","account_id":"fund-7"}"#)
        .await
        .unwrap();
    for id in ["a0", "a1", "a2"] {
        assert_eq!(client.report(&intent(id, &[])).await.status, OrderStatus::Filled);
    }
    assert_eq!(
        client.report(&ibkr("r1", &[])).await.status,
        OrderStatus::PartiallyFilled
    );
    let adjustment = r#"{"account_id":"default","cash":5,"actor":"ops","reason":"deposit","adjustment_id":"d1"}"#;
    client.call(subjects::ADJUST, adjustment).await.unwrap();
    client.report(&intent("a3", &[])).await;
    rig.quiet().await;
    let before = client.whole_journal().await;
    create_archive(&rig).await;
    archive_all(&rig.bus().await).await;
    let extent = client.reader.read_extent().await.unwrap();
    assert_eq!(extent.first_sequence, extent.last_sequence);
    assert_eq!(client.reader.find_unaccepted_loss(&extent).await.unwrap(), None);
    assert_eq!(client.whole_journal().await, before);
    assert_rebuild_is_equal(&rig).await;

    // Orders, the state, the lock and the day are read from the archive.
    for (broker, id, status) in [
        ("binance", "a0", OrderStatus::Filled),
        ("ibkr", "r1", OrderStatus::PartiallyFilled),
    ] {
        let query = format!(r#"{{"client_order_id":{id:?}}}"#);
        assert_eq!(client.order("get", broker, &query).await.unwrap().status, status);
    }
    assert_eq!(client.state().await.version, set.version);
    let loosened = client.set_state(r#""daily_notional_limit":3000000000"#).await.unwrap();
    assert_eq!(loosened.version, set.version + 1);
    client.lift("paper.account.fund-7.operator").await.unwrap();
    let cancelled = client.order("cancel", "ibkr", r#"{"client_order_id":"r1"}"#).await;
    assert_eq!(cancelled.unwrap().status, OrderStatus::Cancelled);
    assert_rebuild_is_equal(&rig).await;
    assert_eq!(client.state().await.version, loosened.version);
    assert!(client.locks().await.is_empty());
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_logs_are_built_from_archive_and_journal() {
    let router = Router::start_with(|rig| rig.settings.nats.duplicate_window_s = DUPLICATE_WINDOW_S).await;
    let submit = async |ids: std::ops::Range<u32>| {
        for id in ids {
            assert_eq!(router.submit(&order(&format!("o{id}"), &json!({}))).await.status, 201);
        }
    };
    let (early, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    submit(0..3).await;
    let stopped = router.another_sidecar(&early).await;
    poll::until(SOON, "the log has three orders", async || {
        let listed = get(&stopped, "/orders/log").await;
        listed.status == 200 && Router::page(&listed).1 == 3
    })
    .await;
    stopped.drain(SOON).await;
    submit(3..8).await;
    create_archive(&router.rig).await;
    archive_all(&router.rig.bus().await).await;
    let archived = get(&router.sidecar, "/orders/log").await.json()["items"][7].clone();
    assert_eq!(archived["correlation_id"], "o0");
    // A log that is behind what the journal has dropped, and an empty one.
    let continued = router.another_sidecar(&early).await;
    let rebuilt = router.another_sidecar(&fresh).await;
    submit(8..9).await;
    for sidecar in [&router.sidecar, &continued, &rebuilt] {
        for path in ["/orders/log", "/executions", "/positions"] {
            poll::until(SOON, format!("{path} is the same"), async || {
                let (one, other) = (get(&router.sidecar, path).await, get(sidecar, path).await);
                one.status == 200 && other.status == 200 && one.json()["items"] == other.json()["items"]
            })
            .await;
        }
        let (items, total) = Router::page(&get(sidecar, "/orders/log").await);
        assert_eq!((total, texts(&items, "correlation_id")[8].as_str()), (9, "o0"));
    }
    let path = format!("/orders/{}", archived["external_order_id"].as_str().unwrap());
    assert_eq!(router.get(&path).await.json()["client_order_id"], "o0");
    continued.drain(SOON).await;
    rebuilt.drain(SOON).await;
}
