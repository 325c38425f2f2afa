//! A worker that slept between booking and journaling: the store was lost and rebuilt meanwhile, and another order has the id.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;

use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::support::proxy::{Direction, Proxy};

const POSITION: &str = "sums:paper:default:binance.spot:BTCUSDT";
/// The lots of one order.
const LOTS: i64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn reply_of_a_worker_that_slept_through_a_rebuild_never_names_its_void_order() {
    let rig = Rig::start().await;
    let (bus, store) = tokio::join!(Proxy::start(rig.nats.address()), Proxy::start(rig.redis.address()));
    let mut settings = rig.settings.clone();
    (settings.nats.url, settings.redis.url) = (bus.url("nats"), store.url("redis"));
    // The worker's connection and its append outlast its sleep.
    (settings.nats.ping_interval_ms, settings.journal.ack_timeout_ms) = (60_000, 25_000);
    let sleeper = Worker::start(&settings).await.unwrap();
    let (first_caller, client) = (rig.caller().await, rig.caller().await);

    // The order is booked, and its report does not reach the journal.
    bus.stall_direction(Direction::ToServer);
    let first = tokio::spawn(async move {
        first_caller
            .submit_within(&intent("a1", &[]), Duration::from_secs(25))
            .await
    });
    poll::until(SOON, "the order is booked", async || {
        rig.sum(POSITION, "position").await == LOTS
    })
    .await;
    bus.stall();
    store.stall();
    let mut redis = rig.redis.connection().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    assert!(client.reports().await.is_empty());

    // Another worker rebuilds the store, and the id is that of another order.
    let worker = rig.worker().await;
    let counts = poll::eventually(SOON, "the id has another order", async || {
        let reply = client
            .submit_within(&intent("a1", &[]), Duration::from_secs(1))
            .await
            .ok()?;
        let report = ExecutionReport::decode(&reply.body).unwrap();
        report.receipt_code().is_none().then_some(report)
    })
    .await;

    bus.restore();
    store.restore();
    let reply = first.await.unwrap().expect("a report or a receipt");
    let report = ExecutionReport::decode(&reply.body).unwrap();
    assert!(
        report.receipt_code().is_some() || report.order_id == counts.order_id,
        "{report:?} beside {counts:?}"
    );
    // The void order's entry is on the journal, behind the one that counts.
    poll::until(SOON, "the late entry is journaled", async || {
        client.reports().await.len() == 2
    })
    .await;
    rig.quiet().await;
    assert_eq!(rig.sum(POSITION, "position").await, LOTS);
    assert_eq!(client.report(&intent("a1", &[])).await, counts);
    sleeper.drain(SOON).await;
    worker.drain(SOON).await;
}
