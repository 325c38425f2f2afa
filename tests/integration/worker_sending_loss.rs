//! Orders at an external venue when Redis comes back without what it wrote last: a power cut, or a failover to a replica
//! that was behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::bus::request::BusReply;
use order_router::bus::router_client::RequestError;
use order_router::domain::order_terms::OrderStatus;
use order_router::fault::FaultCode;
use order_router::wire::report::ExecutionReport;
use redis::AsyncCommands;
use tokio::task::JoinHandle;

use crate::external_venue::{HoldPoint, KillableWorker, Venue};
use crate::remembered_view::record_name;
use crate::rig::{Rig, SOON, ibkr, intent};
use crate::support::poll;
use crate::worker_sending::{events, rig, submit_held_at, sums};

/// Waits until the store is complete in another epoch than `before`.
async fn wait_for_rebuild(rig: &Rig, before: &str) {
    poll::until(SOON, "the store is rebuilt", async || {
        let meta = rig.store().await.remove("meta").unwrap_or_default();
        meta.get("epoch")
            .is_some_and(|now| *now != before && !now.starts_with("healing"))
    })
    .await;
}

async fn stage(rig: &Rig, id: &str) -> Option<String> {
    let record = rig.store().await.remove(&record_name("default", id))?;
    record.get("st").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_order_counts_as_sent_in_a_restarted_store_until_its_worker_says_otherwise() {
    let (mut rig, venue, client) = rig().await;
    rig.settings.redis.lease_ms = 60_000;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let _announced = submit_held_at(HoldPoint::Announced, &rig, &venue, "a1").await;
    let epoch = rig.store().await["meta"]["epoch"].clone();
    rig.redis.kill9();
    rig.redis.restart().await;
    wait_for_rebuild(&rig, &epoch).await;
    assert_eq!(stage(&rig, "a1").await.as_deref(), Some("sending"));
    assert_eq!(sums(&rig).await, (100, 0));
    venue.resume();
    poll::until(SOON, "the order is released", async || {
        events(&client, "released").await.len() == 1
    })
    .await;
    rig.quiet().await;
    assert_eq!((sums(&rig).await, venue.arrivals()), ((0, 0), vec![]));
    worker.kill();
}

/// Kills Redis, takes its last `lost` commands from it, and starts it again: the order is being sent. Then lets the venue reply,
/// and returns the report of the fill.
async fn lose_and_resume(
    rig: &mut Rig,
    venue: &Venue,
    id: &str,
    lost: usize,
    answer: JoinHandle<Result<BusReply, RequestError>>,
) -> ExecutionReport {
    let epoch = rig.store().await["meta"]["epoch"].clone();
    rig.redis.kill9();
    rig.redis.cut_append_only_file(lost);
    rig.redis.restart().await;
    wait_for_rebuild(rig, &epoch).await;
    assert_eq!(stage(rig, id).await.as_deref(), Some("sending"), "{lost} commands lost");
    venue.resume();
    let report = ExecutionReport::decode(&answer.await.unwrap().unwrap().body).unwrap();
    assert_eq!(report.status, OrderStatus::Filled, "{lost} commands lost");
    rig.quiet().await;
    report
}

/// How many of the last commands of Redis are lost at the most. The claim and what follows it are fewer.
const MAX_LOST_COMMANDS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn order_at_the_venue_is_never_sent_again_however_much_redis_has_lost() {
    let (mut rig, venue, client) = rig().await;
    rig.settings.redis.lease_ms = 60_000;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let mut arrived = Vec::new();
    for lost in 0..=MAX_LOST_COMMANDS {
        let id = format!("a{lost}");
        let answer = submit_held_at(HoldPoint::Announced, &rig, &venue, &id).await;
        // The event of another order raises the watermark beyond the submission.
        client.report(&ibkr(&format!("other-{lost}"), &[])).await;
        rig.quiet_outbox().await;
        // As if the last rebuild were long ago: a replay need not begin with events of the epoch before it.
        let mut redis = rig.redis.connection().await;
        let _: i64 = redis.hdel("{or}:meta", &["late_from", "late_until"]).await.unwrap();
        venue.hold_at(HoldPoint::Received);
        poll::until(SOON, "the venue has the order", async || {
            venue.arrivals().len() == lost + 1
        })
        .await;
        arrived = venue.arrivals();
        let report = lose_and_resume(&mut rig, &venue, &id, lost, answer).await;
        assert_eq!(client.report(&intent(&id, &[])).await.order_id, report.order_id);
    }
    assert_eq!(venue.arrivals(), arrived);
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_that_is_sent_at_its_second_attempt_survives_the_loss_of_everything_behind_the_first() {
    let (mut rig, venue, client) = rig().await;
    rig.settings.redis.lease_ms = 60_000;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    // More would reach into the rebuild of the round before, whose lease is waited for.
    for (number, lost) in (4..=48).step_by(4).enumerate() {
        let id = format!("a{lost}");
        // The first attempt ends before its announcement or, released on the journal, behind it.
        let is_announced = number % 2 == 0;
        venue.set(|behaviour| (behaviour.unreachable, behaviour.is_offline) = (is_announced, !is_announced));
        let fault = client.fault(&intent(&id, &[])).await;
        assert_eq!(fault.code, FaultCode::BrokerUnavailable);
        rig.quiet().await;
        venue.set(|behaviour| (behaviour.unreachable, behaviour.is_offline) = (false, false));
        let answer = submit_held_at(HoldPoint::Received, &rig, &venue, &id).await;
        lose_and_resume(&mut rig, &venue, &id, lost, answer).await;
        let sent = i64::try_from(number + 1).unwrap();
        assert_eq!(sums(&rig).await, (100 * sent, 100 * sent), "{lost} commands lost");
        assert_eq!(venue.arrivals().len(), number + 1);
    }
    worker.kill();
}
