//! Sweeps over the queues of the store get past any number of entries that cannot be processed, no broker waits for
//! another, and a rebuild keeps its lease whatever it does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use order_router::domain::id::{AccountId, ClientOrderId};
use order_router::domain::order_key::OrderKey;
use order_router::domain::order_terms::{Mode, OrderStatus};
use order_router::worker::Worker;
use redis::AsyncCommands;
use tokio::time::Instant;

use crate::conformance_store::ready_store;
use crate::external_venue::{KillableWorker, Venue, two_venues};
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::store_scripts::{claimed, filled, key, settlement};
use crate::support::poll;
use crate::support::proxy::Proxy;

/// More than one page of a queue, of each kind of entry that cannot be processed.
const STUCK: usize = 300;

/// Returns the name of an order that the store does not have.
fn gone_name(n: usize) -> String {
    let id = ClientOrderId::new(&format!("gone{n}")).unwrap();
    OrderKey::new(Mode::Paper, &AccountId::default_account(), &id).name()
}

/// Puts entries at the front of a queue: names that nobody can read, and names without a record.
async fn block(rig: &Rig, queue: &str) {
    let mut pipeline = redis::pipe();
    for n in 0..STUCK {
        pipeline
            .zadd(format!("{{or}}:{queue}"), format!("\u{1f4a5} {n}"), 1)
            .ignore();
        pipeline.zadd(format!("{{or}}:{queue}"), gone_name(n), 2).ignore();
    }
    pipeline.exec_async(&mut rig.redis.connection().await).await.unwrap();
}

async fn wait_for_status(client: &Client, order_id: &str, status: OrderStatus) {
    poll::until(SOON, format!("{order_id} is {status:?}"), async || {
        let reports = client.reports().await;
        reports
            .iter()
            .any(|report| report.order_id == order_id && report.status == status)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_claims_and_waiting_events_are_found_behind_entries_that_fail() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    block(&rig, "leases").await;
    block(&rig, "outbox").await;
    let store = ready_store(&rig).await;
    let (waits, _) = claimed(&rig, &store, 10).await;
    store.settle(settlement(&filled(&waits, 10))).await.unwrap();
    let (expires, _) = claimed(&rig, &store, 10).await;
    wait_for_status(&client, waits.order_id.as_str(), OrderStatus::Filled).await;
    let record = format!("order:{}", key(&expires).name());
    poll::until(SOON, "the expired claim is released", async || {
        !rig.store_keys().await.contains(&record)
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn due_paper_orders_are_found_behind_entries_that_fail() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    block(&rig, "due:ibkr").await;
    let report = client.report(&ibkr("a1", &[])).await;
    assert_eq!(report.status, OrderStatus::PartiallyFilled);
    wait_for_status(&client, &report.order_id, OrderStatus::Filled).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_adjustments_are_found_behind_entries_that_fail() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let body = r#"{"adjustment_id":"d1","account_id":"fund","cash":"5","actor":"mira","reason":"deposit"}"#;
    client.call(order_router::bus::subjects::ADJUST, body).await.unwrap();
    block(&rig, "adjustments").await;
    // As a worker leaves it that dies after the booking.
    let mut redis = rig.redis.connection().await;
    redis
        .hset::<_, _, _, ()>("{or}:adjustment:d1", "seq", "0")
        .await
        .unwrap();
    redis.zadd::<_, _, _, ()>("{or}:adjustments", "d1", 3).await.unwrap();
    poll::until(SOON, "the adjustment is journaled", async || {
        redis.hget::<_, _, String>("{or}:adjustment:d1", "seq").await.unwrap() != "0"
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_locks_are_journaled_beside_one_that_cannot_be_read() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let set = r#"{"scope":{"kind":"account","account_id":"fund"},"actor":"mira","reason":"before"}"#;
    client.call(order_router::bus::subjects::LOCKS_SET, set).await.unwrap();
    let mut redis = rig.redis.connection().await;
    let locks: BTreeMap<String, String> = redis.hgetall("{or}:latches").await.unwrap();
    let [(id, document)] = locks.into_iter().collect::<Vec<_>>().try_into().unwrap();
    // As a worker leaves them that dies after it has set locks.
    let document = document.replace("before", "after");
    let unreadable: Vec<(String, &str)> = (0..20).map(|n| (format!("unreadable{n}"), "x")).collect();
    redis
        .hset_multiple::<_, _, _, ()>("{or}:latches_waiting", &unreadable)
        .await
        .unwrap();
    redis.hset::<_, _, _, ()>("{or}:latches", &id, &document).await.unwrap();
    redis
        .hset::<_, _, _, ()>("{or}:latches_waiting", &id, &document)
        .await
        .unwrap();
    poll::until(SOON, "the lock is journaled", async || {
        let journal = client.journal().await;
        journal.iter().any(|entry| entry.body == document.as_bytes())
    })
    .await;
    poll::until(SOON, "the lock waits no more", async || {
        !redis.hexists::<_, _, bool>("{or}:latches_waiting", &id).await.unwrap()
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_orders_are_found_behind_entries_that_fail() {
    let (mut rig, venue) = (Rig::start().await, Venue::new());
    rig.settings.brokers.inquiry.first_pause_ms = 50;
    venue.set(|behaviour| behaviour.drops_replies = true);
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let client = rig.caller().await;
    block(&rig, "due:binance").await;
    let unknown = client.report(&intent("a1", &[])).await;
    assert_eq!(unknown.status, OrderStatus::Unknown);
    wait_for_status(&client, &unknown.order_id, OrderStatus::Filled).await;
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_venue_does_not_hold_up_inquiries_at_another() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.inquiry.first_pause_ms = 50;
    rig.settings.brokers.task.call_timeout_ms = 120_000;
    let (slow, other) = (Venue::new(), Venue::new());
    for venue in [&slow, &other] {
        venue.set(|behaviour| behaviour.drops_replies = true);
    }
    slow.set(|behaviour| behaviour.inquiry_delay = 4 * SOON);
    let brokers = two_venues(&slow, &other);
    let worker = Worker::start_with_brokers(&rig.settings, brokers).await.unwrap();
    let client = rig.caller().await;
    client.report(&intent("slow", &[])).await;
    poll::until(SOON, "the slow venue is asked", async || slow.inquiries() > 0).await;
    let unknown = client.report(&ibkr("other", &[])).await;
    wait_for_status(&client, &unknown.order_id, OrderStatus::Filled).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_keeps_its_lease_while_it_replays_nothing() {
    let mut rig = Rig::start().await;
    let proxy = Proxy::start(rig.nats.address()).await;
    rig.settings.nats.url = proxy.url("nats");
    let worker = rig.worker().await;
    let mut redis = rig.redis.connection().await;
    // Every read of the journal takes more than a second; no order is replayed.
    proxy.delay(Duration::from_millis(700));
    rig.redis.flushall().await;
    let lease =
        async |redis: &mut redis::aio::MultiplexedConnection| -> i64 { redis.pttl("{or}:healing").await.unwrap() };
    poll::until(SOON, "the rebuild has begun", async || lease(&mut redis).await > 0).await;
    let begun = Instant::now();
    let mut shortest = i64::MAX;
    poll::until(SOON, "the rebuild is finished", async || {
        let left = lease(&mut redis).await;
        if left > 0 {
            shortest = shortest.min(left);
        }
        left < 0
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(shortest > 2_500, "{shortest}");
    proxy.restore();
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_leave_no_script_of_earlier_epochs_in_redis() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let mut redis = rig.redis.connection().await;
    let mut counts = Vec::new();
    for _ in 0..4 {
        rig.redis.flushall().await;
        poll::until(SOON, "the rebuild is finished", async || {
            let epoch: Option<i64> = redis.hget("{or}:meta", "epoch").await.unwrap_or_default();
            epoch.is_some() && worker.router().store.epoch() == epoch
        })
        .await;
        let memory: String = redis::cmd("INFO").arg("memory").query_async(&mut redis).await.unwrap();
        let count = memory
            .lines()
            .find_map(|line| line.strip_prefix("number_of_cached_scripts:"));
        counts.push(count.unwrap().trim().parse::<u64>().unwrap());
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_of_the_outbox_without_an_event_is_dropped() {
    let rig = Rig::start().await;
    let client = rig.caller().await;
    let worker = rig.worker().await;
    let report = client.report(&intent("ended", &[])).await;
    rig.quiet().await;
    // What a Redis may hold that was restored from an append-only file without its end.
    let name = OrderKey::new(
        Mode::Paper,
        &AccountId::new(&report.account_id).unwrap(),
        &ClientOrderId::new(&report.client_order_id).unwrap(),
    );
    let _: i64 = rig
        .redis
        .connection()
        .await
        .zadd("{or}:outbox", name.name(), 1)
        .await
        .unwrap();
    rig.quiet_outbox().await;
    assert_eq!(client.reports().await.len(), 1);
    assert_eq!(client.report(&intent("ended", &[])).await, report);
    worker.drain(SOON).await;
}
