//! `/health` of worker and sidecar answers whether an order would be taken now, and recovers by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::net::SocketAddr;

use async_nats::jetstream::stream::Config;
use order_router::bus::subjects;
use order_router::domain::reason::ReasonCode;
use order_router::sidecar::Sidecar;
use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;

use crate::exposition::Scrape;
use crate::journal_behind::{restore, snapshot};
use crate::rest_fixture::{RestResponse, client};
use crate::rest_router;
use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

const STORE_READY: &str = "order_router_store_ready";
const HAS_ROOM: &str = "order_router_journal_has_room";

/// A worker, a sidecar, and a caller.
struct Watched {
    rig: Rig,
    worker: Worker,
    sidecar: Sidecar,
    client: Client,
    orders: usize,
}

impl Watched {
    async fn start(set: impl FnOnce(&mut Rig)) -> Self {
        let mut rig = Rig::start().await;
        rig.settings.http.addr.set_port(0);
        rig.settings.metrics.addr = Some(([127, 0, 0, 1], 0).into());
        set(&mut rig);
        let worker = rig.worker().await;
        let sidecar = Sidecar::start(&rig.settings).await.unwrap();
        let client = rig.caller().await;
        let mut watched = Self {
            rig,
            worker,
            sidecar,
            client,
            orders: 0,
        };
        watched.expect_taken().await;
        watched
    }

    fn worker_address(&self) -> SocketAddr {
        self.worker.metrics_address().unwrap()
    }

    async fn health(&self) -> RestResponse {
        rest_router::get(&self.sidecar, "/health").await
    }

    async fn worker_health(&self) -> (u16, String) {
        let url = format!("http://{}/health", self.worker_address());
        let response = client().get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Submits a new order; reports whether its report is journaled, and what was replied.
    async fn is_taken(&mut self) -> (bool, String) {
        self.orders += 1;
        match self.client.submit(&intent(&format!("h{}", self.orders), &[])).await {
            Ok(reply) => {
                let report = ExecutionReport::decode(&reply.body).unwrap();
                (!report.is_receipt(), format!("{report:?}"))
            }
            Err(error) => (false, error.to_string()),
        }
    }

    /// Waits until worker and sidecar report that no order is taken because of `part`, with `words` in the detail; and
    /// checks that none is.
    async fn expect_refused(&mut self, part: &str, status: &str, words: &str, gauges: (&str, &str)) {
        let response = poll::eventually(SOON, format!("{part} is {status}"), async || {
            let response = self.health().await;
            (response.status == 503 && response.json()["checks"][part]["status"] == status).then_some(response)
        })
        .await;
        let detail = response.json()["checks"][part]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{detail}");
        let (code, text) = poll::eventually(SOON, "the worker's own health", async || {
            Some(self.worker_health().await).filter(|(code, _)| *code == 503)
        })
        .await;
        assert!(code == 503 && text.contains(words), "{text}");
        Scrape::wait_for(self.worker_address(), STORE_READY, &[], Some(gauges.0)).await;
        // A reply of NATS that is late on a busy machine counts as no room until the next check.
        Scrape::wait_for(self.worker_address(), HAS_ROOM, &[], Some(gauges.1)).await;
        let (is_taken, reply) = self.is_taken().await;
        assert!(!is_taken, "{reply}");
        assert_eq!(rest_router::get(&self.sidecar, "/health/live").await.status, 200);
    }

    /// Waits until worker and sidecar report that orders are taken, and checks that one is.
    async fn expect_taken(&mut self) {
        poll::until(SOON, "orders are taken", async || {
            self.health().await.status == 200 && self.worker_health().await.0 == 200
        })
        .await;
        Scrape::wait_for(self.worker_address(), STORE_READY, &[], Some("1")).await;
        Scrape::wait_for(self.worker_address(), HAS_ROOM, &[], Some("1")).await;
        let (is_taken, reply) = self.is_taken().await;
        assert!(is_taken, "{reply}");
    }

    async fn redis(&self, command: &[&str]) {
        let mut built = redis::cmd(command[0]);
        command[1..].iter().for_each(|argument| {
            built.arg(*argument);
        });
        built.exec_async(&mut self.rig.redis.connection().await).await.unwrap();
    }

    async fn change_journal(&self, change: impl FnOnce(&mut Config)) {
        let jetstream = async_nats::jetstream::new(self.client.raw.clone());
        let mut config = jetstream
            .get_stream(subjects::STREAM_REPORTS)
            .await
            .unwrap()
            .cached_info()
            .config
            .clone();
        change(&mut config);
        jetstream.update_stream(config).await.unwrap();
    }

    async fn stop(self) {
        self.sidecar.drain(SOON).await;
        self.worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_of_redis_is_reported_and_passes() {
    let mut watched = Watched::start(|_| {}).await;
    // A snapshot cannot replace a directory: it fails as on a full disk.
    let blocked = watched.rig.redis.data_directory().join("dump.rdb");
    std::fs::create_dir_all(blocked.join("occupied")).unwrap();
    watched.redis(&["CONFIG", "SET", "save", "3600 1000000"]).await;
    watched
        .redis(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"])
        .await;
    watched.redis(&["BGSAVE"]).await;
    watched.expect_refused("redis", "failing", "MISCONF", ("0", "1")).await;
    std::fs::remove_dir_all(&blocked).unwrap();
    watched.redis(&["BGSAVE"]).await;
    watched.expect_taken().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_cannot_write_its_file_is_reported_and_passes() {
    let mut watched = Watched::start(|_| {}).await;
    watched.rig.redis.limit_files(Some(1));
    watched.expect_refused("redis", "failing", "MISCONF", ("0", "1")).await;
    watched.rig.redis.limit_files(None);
    watched.expect_taken().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_that_cannot_store_is_reported_and_its_restart_is_enough() {
    let mut watched = Watched::start(|_| {}).await;
    watched.rig.nats.limit_files(Some(1));
    // An order that is booked when the journal fails is answered with a receipt, and journaled later.
    for _ in 0..3 {
        let (is_taken, reply) = watched.is_taken().await;
        assert!(!is_taken, "{reply}");
    }
    watched
        .expect_refused("worker", "failing", "not journaled", ("1", "1"))
        .await;
    // nats-server keeps a stream's error until it is restarted.
    watched.rig.nats.limit_files(None);
    watched.rig.nats.restart().await;
    watched.expect_taken().await;
    watched.rig.quiet().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_at_its_memory_limit_is_reported_and_passes() {
    let mut watched = Watched::start(|_| {}).await;
    watched.redis(&["CONFIG", "SET", "maxmemory", "1"]).await;
    watched.expect_refused("redis", "failing", "OOM", ("0", "1")).await;
    watched.redis(&["CONFIG", "SET", "maxmemory", "0"]).await;
    watched.expect_taken().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_became_a_replica_is_reported_and_passes() {
    let mut watched = Watched::start(|_| {}).await;
    watched.redis(&["REPLICAOF", "127.0.0.1", "1"]).await;
    watched
        .expect_refused("redis", "failing", "read only replica", ("0", "1"))
        .await;
    watched.redis(&["REPLICAOF", "NO", "ONE"]).await;
    watched.expect_taken().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_without_the_replica_that_it_needs_is_reported_and_passes() {
    let mut watched = Watched::start(|_| {}).await;
    watched.redis(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    watched
        .expect_refused("redis", "failing", "NOREPLICAS", ("0", "1"))
        .await;
    watched.redis(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    watched.expect_taken().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_too_much_memory_in_use_is_reported() {
    let mut watched = Watched::start(|rig| rig.settings.redis.max_memory_mb = 16).await;
    watched.redis(&["SETRANGE", "other", "20000000", "x"]).await;
    watched
        .expect_refused("redis", "failing", "redis.max_memory_mb", ("0", "1"))
        .await;
    watched.redis(&["DEL", "other"]).await;
    watched.expect_taken().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_journal_is_reported_and_its_restoration_is_enough() {
    let mut watched = Watched::start(|_| {}).await;
    watched.rig.quiet().await;
    let kept = snapshot(&mut watched.rig.nats).await;
    let jetstream = async_nats::jetstream::new(watched.client.raw.clone());
    poll::until(SOON, "the journal is deleted", async || {
        jetstream.delete_stream(subjects::STREAM_REPORTS).await.is_ok()
    })
    .await;
    watched
        .expect_refused("journal", "behind", "nats stream restore", ("1", "0"))
        .await;
    let scrape = Scrape::wait_for(watched.worker_address(), "order_router_journal_behind", &[], Some("1")).await;
    assert!(!scrape.has("order_router_journal_last_sequence"));
    restore(&mut watched.rig.nats, &kept).await;
    watched.expect_taken().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_journal_is_reported_and_more_room_is_enough() {
    let mut watched = Watched::start(|rig| rig.settings.nats.reports_max_bytes = 256 * 1024).await;
    poll::until(SOON, "the journal is nearly full", async || {
        let (is_taken, _) = watched.is_taken().await;
        !is_taken
    })
    .await;
    watched
        .expect_refused("journal", "failing", "nats.reports_max_bytes", ("1", "0"))
        .await;
    watched
        .change_journal(|config| config.max_bytes = 64 * 1024 * 1024)
        .await;
    watched.expect_taken().await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_last_orders_are_reported_and_pass() {
    let mut watched = Watched::start(|_| {}).await;
    // The journal exists and has room, and refuses every report.
    watched.change_journal(|config| config.max_message_size = 16).await;
    for _ in 0..3 {
        let (is_taken, reply) = watched.is_taken().await;
        assert!(
            !is_taken && reply.contains(&format!("{:?}", ReasonCode::NotJournaled)),
            "{reply}"
        );
    }
    watched
        .expect_refused("worker", "failing", "not journaled", ("1", "1"))
        .await;
    watched.change_journal(|config| config.max_message_size = -1).await;
    watched.expect_taken().await;
    watched.stop().await;
}
