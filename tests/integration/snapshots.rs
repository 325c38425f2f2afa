//! Snapshots of the shared state: a rebuild from one equals a rebuild from the whole journal, whatever has happened to the
//! worker that made it or to its messages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::net::SocketAddr;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use order_router::bus::journal::snapshots::{JournalSnapshots, SnapshotManifest, StoredManifest};
use order_router::bus::{headers, subjects};
use order_router::domain::content_hash::ContentHash;
use order_router::worker::{Worker, stop_point};

use crate::exposition::Scrape;
use crate::rebuild_fold::{Dump, FoldEvent, JournalMaker, assert_same, dump};
use crate::rig::{Rig, SOON};
use crate::support::poll;
use crate::support::process::RouterProcess;

/// The smallest number of entries after which a snapshot is made.
const EVERY: u64 = 1_000;
const FAILURES: &str = "order_router_snapshot_failures_total";

/// A router whose journal is filled from outside.
struct Case {
    rig: Rig,
    maker: JournalMaker,
    appended: usize,
    context: Context,
    snapshots: JournalSnapshots,
}

impl Case {
    async fn start(seed: u64) -> Self {
        let mut rig = Rig::start().await;
        rig.settings.journal.snapshot_entries = 0;
        rig.settings.metrics.addr = Some(([127, 0, 0, 1], 0).into());
        rig.apply_topology().await;
        let mut maker = JournalMaker::new(seed);
        (maker.ids, maker.has_pending) = (2_000, false);
        Self {
            maker,
            appended: 0,
            context: async_nats::jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap()),
            snapshots: JournalSnapshots::new(rig.bus().await),
            rig,
        }
    }

    /// Appends events to the journal.
    async fn fill(&mut self, count: u64) {
        self.maker.fill(self.appended + usize::try_from(count).unwrap());
        let mut waiting = Vec::new();
        for event in &self.maker.events[self.appended..] {
            let FoldEvent::Report(event) = event else { continue };
            let subject = subjects::report(&event.order.broker, &event.order.account_id);
            waiting.push(self.context.publish(subject, event.document.clone()).await.unwrap());
        }
        self.appended = self.maker.events.len();
        for acknowledgement in waiting {
            acknowledgement.await.unwrap();
        }
    }

    async fn last_sequence(&self) -> u64 {
        let stream = self.context.get_stream(subjects::STREAM_REPORTS).await.unwrap();
        stream.cached_info().state.last_sequence
    }

    async fn worker_with_snapshots(&self) -> Worker {
        let mut settings = self.rig.settings.clone();
        settings.journal.snapshot_entries = EVERY;
        Worker::start(&settings).await.unwrap()
    }

    async fn manifests(&self) -> Vec<StoredManifest> {
        self.snapshots.read_manifests().await.unwrap()
    }

    /// Waits until a valid snapshot has the journal up to a sequence.
    async fn wait_for_snapshot(&self, sequence: u64) -> SnapshotManifest {
        poll::eventually(SOON, format!("a snapshot up to {sequence}"), async || {
            let newest = self.manifests().await.into_iter().next()?.manifest.ok()?;
            (newest.journal_sequence >= sequence).then_some(newest)
        })
        .await
    }

    /// Makes a snapshot of the present journal.
    async fn make_snapshot(&mut self) -> SnapshotManifest {
        self.fill(EVERY).await;
        let worker = self.worker_with_snapshots().await;
        let made = self.wait_for_snapshot(self.last_sequence().await).await;
        worker.drain(SOON).await;
        made
    }

    /// Empties Redis, lets a worker rebuild it, and returns what it holds and how many snapshots were found invalid.
    async fn rebuild(&self) -> (Dump, u64) {
        self.rig.redis.flushall().await;
        let worker = self.rig.worker().await;
        let address: SocketAddr = worker.metrics_address().unwrap();
        let scrape = Scrape::fetch(address).await;
        let invalid = scrape
            .get(FAILURES, &[("step", "read")])
            .map_or(0, |count| count.parse().unwrap());
        worker.drain(SOON).await;
        (dump(&mut self.rig.redis.connection().await).await, invalid)
    }

    /// Checks what a rebuild from an empty Redis makes, and how many snapshots it finds invalid.
    async fn assert_rebuilt(&self, expected: &Dump, invalid: u64) {
        let (rebuilt, found) = self.rebuild().await;
        assert_same(&rebuilt, expected, "the store");
        assert_eq!(found, invalid);
    }

    /// Publishes a message to a subject of the snapshots.
    async fn overwrite(&self, subject: String, body: Vec<u8>) {
        let mut map = HeaderMap::new();
        headers::set(&mut map, headers::SNAPSHOT_CHECKSUM, &ContentHash::of(&body).0);
        let sent = self
            .context
            .publish_with_headers(subject, map, body.into())
            .await
            .unwrap();
        sent.await.unwrap();
    }

    /// Makes every snapshot invalid.
    async fn spoil_all(&self) {
        for slot in 0..2 {
            self.overwrite(subjects::snapshot_manifest(slot), b"{}".to_vec()).await;
        }
    }

    /// Checks that the newest manifest is valid and all its parts are whole.
    async fn assert_newest_is_whole(&self) {
        let newest = self.manifests().await.into_iter().next().unwrap();
        for part in newest.manifest.unwrap().parts() {
            self.snapshots.read_part(part).await.unwrap();
        }
    }

    /// Starts a worker process that ends at a stop point.
    async fn kill_at(&self, point: &str) {
        let environment = [
            ("ORDER_ROUTER_NATS_URL", self.rig.nats.url()),
            ("ORDER_ROUTER_REDIS_URL", self.rig.redis.url()),
            ("ORDER_ROUTER_JOURNAL_SNAPSHOT_ENTRIES", EVERY.to_string()),
            (stop_point::ENVIRONMENT_VARIABLE, point.to_owned()),
        ];
        let environment = environment.iter().map(|(name, value)| (*name, value.as_str()));
        let mut victim = RouterProcess::start(&["worker"], environment);
        let ended = victim.process().wait(SOON).await;
        assert!(!ended.success(), "{point}: {}", victim.stderr_text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_from_a_snapshot_equals_a_rebuild_from_the_whole_journal() {
    let mut case = Case::start(1).await;
    let first = case.make_snapshot().await;
    let second = case.make_snapshot().await;
    // The ids of the first snapshot stay where they are.
    assert!(
        second.ids.starts_with(&first.ids) && second.ids.len() == 2,
        "{second:?}"
    );
    assert_eq!(case.manifests().await.len(), 2);
    let third = case.make_snapshot().await;
    assert_eq!(case.manifests().await.len(), 2, "{third:?}");
    case.fill(300).await;
    let (from_snapshot, invalid) = case.rebuild().await;
    assert_eq!(invalid, 0);
    case.spoil_all().await;
    let (from_journal, invalid) = case.rebuild().await;
    assert_eq!(invalid, 2);
    assert_same(&from_snapshot, &from_journal, "the store");
    assert!(
        from_journal.keys().any(|key| key.starts_with("{or}:ids:")),
        "{from_journal:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_part_manifest_or_entry_is_passed_over() {
    let mut case = Case::start(2).await;
    let first = case.make_snapshot().await;
    let second = case.make_snapshot().await;
    let (expected, invalid) = case.rebuild().await;
    assert_eq!(invalid, 0);
    // A manifest of a journal that was cut, and has another entry in the place of the snapshot's last one.
    let cut = SnapshotManifest {
        journal_entry_sha256: ContentHash::of(b"another").0.to_string(),
        ..second.clone()
    };
    let beyond = SnapshotManifest {
        journal_sequence: second.journal_sequence + 1_000_000,
        ..second.clone()
    };
    for wrong in [cut, beyond] {
        case.overwrite(subjects::snapshot_manifest(1), serde_json::to_vec(&wrong).unwrap())
            .await;
        case.assert_rebuilt(&expected, 1).await;
    }
    case.overwrite(subjects::snapshot_manifest(1), serde_json::to_vec(&second).unwrap())
        .await;
    case.assert_rebuilt(&expected, 0).await;
    // A part of the newer snapshot alone: the older one is read.
    let own = second
        .parts()
        .find(|part| !first.parts().any(|other| other == *part))
        .unwrap();
    case.overwrite(subjects::snapshot_part(own.slot), b"damaged".to_vec())
        .await;
    case.assert_rebuilt(&expected, 1).await;
    let parts: Vec<_> = first.parts().cloned().collect();
    case.overwrite(subjects::snapshot_part(parts[0].slot), b"damaged".to_vec())
        .await;
    // The whole journal is left.
    case.assert_rebuilt(&expected, 2).await;
    // The next snapshot is whole again.
    case.make_snapshot().await;
    case.assert_newest_is_whole().await;
    let (_, invalid) = case.rebuild().await;
    assert_eq!(invalid, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_of_another_journal_is_not_used() {
    let mut case = Case::start(3).await;
    case.make_snapshot().await;
    case.context.delete_stream(subjects::STREAM_REPORTS).await.unwrap();
    case.rig.redis.flushall().await;
    case.rig.apply_topology().await;
    case.maker = JournalMaker::new(4);
    (case.maker.ids, case.maker.has_pending, case.appended) = (2_000, false, 0);
    case.fill(2 * EVERY).await;
    let (rebuilt, invalid) = case.rebuild().await;
    assert_eq!(invalid, 1);
    case.spoil_all().await;
    case.assert_rebuilt(&rebuilt, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn worker_killed_at_each_step_of_a_snapshot_leaves_the_last_one() {
    let mut case = Case::start(5).await;
    case.make_snapshot().await;
    let snapshot_points = stop_point::SNAPSHOT_POINTS
        .iter()
        .filter(|point| point.starts_with("snapshot_"));
    for point in snapshot_points {
        case.fill(EVERY).await;
        case.kill_at(point).await;
        case.assert_newest_is_whole().await;
        // The turn of the dead worker ends by itself.
        let mut redis = case.rig.redis.connection().await;
        redis::cmd("DEL")
            .arg("{or}:snapshot_turn")
            .query_async::<()>(&mut redis)
            .await
            .unwrap();
    }
    case.make_snapshot().await;
    case.assert_newest_is_whole().await;
    let (from_snapshot, invalid) = case.rebuild().await;
    assert_eq!(invalid, 0);
    case.spoil_all().await;
    case.assert_rebuilt(&from_snapshot, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn rebuild_that_was_killed_is_cleared_and_begun_again() {
    let mut case = Case::start(6).await;
    case.fill(500).await;
    let (expected, _) = case.rebuild().await;
    for point in stop_point::SNAPSHOT_POINTS
        .iter()
        .filter(|point| point.starts_with("rebuild_"))
    {
        case.rig.redis.flushall().await;
        case.kill_at(point).await;
        // The lease of the dead worker ends; what it loaded is not what the journal makes any more.
        let mut redis = case.rig.redis.connection().await;
        redis::cmd("DEL")
            .arg("{or}:healing")
            .query_async::<()>(&mut redis)
            .await
            .unwrap();
        let stale = redis::cmd("HSET")
            .arg(&["{or}:account:paper:stale", "sums", "1 1 1 1 1 1 1"])
            .to_owned();
        stale.query_async::<()>(&mut redis).await.unwrap();
        let worker = case.rig.worker().await;
        worker.drain(SOON).await;
        assert_same(&dump(&mut redis).await, &expected, point);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_make_one_snapshot_and_two_writers_do_not_mix() {
    let mut case = Case::start(7).await;
    let (one, other) = tokio::join!(case.worker_with_snapshots(), case.worker_with_snapshots());
    for _ in 0..3 {
        case.fill(EVERY).await;
        case.wait_for_snapshot(case.last_sequence().await - EVERY / 2).await;
        case.assert_newest_is_whole().await;
    }
    one.drain(SOON).await;
    other.drain(SOON).await;
    let kept = case.manifests().await;
    let newest = kept[0].manifest.as_ref().unwrap().clone();
    let (mut first, mut second) = (
        case.snapshots.begin(&kept).await.unwrap(),
        case.snapshots.begin(&kept).await.unwrap(),
    );
    first.push(b"of the first".to_vec()).await.unwrap();
    first.end_section().await.unwrap();
    second.push(b"of the second".to_vec()).await.unwrap();
    assert!(second.end_section().await.is_err(), "both would write the same parts");
    assert!(second.finish(&newest).await.is_err());
    first.finish(&newest).await.unwrap();
    case.assert_newest_is_whole().await;
}
