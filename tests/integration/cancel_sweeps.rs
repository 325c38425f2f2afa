//! Cancels of many orders: all of them, whatever their number, until the deadline, with an exact account of the rest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use futures_util::{StreamExt, stream};
use order_router::bus::router_client::RequestError;
use order_router::config::brokers::RestFill;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::reason::ReasonCode;
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::wire::order_reference::CancelAllReply;
use order_router::wire::state::RouterState;
use order_router::worker::Worker;

use crate::external_venue::{KillableWorker, Venue, additional_brokers};
use crate::rig::{Client, Rig, SOON, ibkr, intent};

/// How many orders are submitted at a time.
const SUBMIT_CONCURRENCY: usize = 32;

/// Submits orders that stay open.
async fn submit_all(client: &Client, bodies: Vec<String>) {
    let reports = stream::iter(bodies).map(|body| async move { client.report(&body).await });
    let reports: Vec<_> = reports.buffer_unordered(SUBMIT_CONCURRENCY).collect().await;
    assert!(reports.iter().all(|report| !report.status.is_terminal()), "{reports:?}");
}

async fn cancel_all(client: &Client, broker: &str, body: &str, limit: Duration) -> (CancelAllReply, usize) {
    let subject = format!("orders.cancel_all.{broker}.default");
    let deadline = Timestamp::now().saturating_add(limit);
    let reply = client.caller.request(&subject, body.to_owned().into(), deadline).await;
    let body = reply.unwrap().body;
    (serde_json::from_slice(&body).unwrap(), body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_cancels_more_orders_than_its_reply_lists() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    rig.settings.redis.response_timeout_ms = 10_000;
    rig.settings.redis.lease_ms = 60_000;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let small = ("quantity", "1");
    let msft = [("symbol", "\"MSFT\""), ("price", "320"), small];
    let bodies = (0..1_300).map(|n| match n % 13 {
        0 => ibkr(&format!("o{n}"), &msft),
        _ => ibkr(&format!("o{n}"), &[small]),
    });
    submit_all(&client, bodies.collect()).await;
    let (reply, size) = cancel_all(&client, "ibkr", r#"{"symbol":"MSFT"}"#, SOON).await;
    assert_eq!((reply.cancelled_total, reply.remaining_total), (100, 0));
    assert_eq!((reply.cancelled.len(), size < 1_000_000), (100, true));
    let (reply, size) = cancel_all(&client, "ibkr", "", SOON).await;
    assert_eq!((reply.cancelled_total, reply.remaining_total), (1_200, 0));
    assert_eq!((reply.cancelled.len(), size < 1_000_000), (500, true));
    assert!(
        reply
            .cancelled
            .iter()
            .all(|report| report.status == OrderStatus::Cancelled)
    );
    rig.quiet().await;
    let cancelled = client.reports().await;
    let cancelled = cancelled
        .iter()
        .filter(|report| report.status == OrderStatus::Cancelled);
    assert_eq!(cancelled.count(), 1_300);
    // A halt cancels as many, and counts those that another worker comes to first.
    let other = rig.worker().await;
    submit_all(&client, (0..700).map(|n| ibkr(&format!("h{n}"), &[small])).collect()).await;
    let state = halt(&client, SOON).await;
    assert_eq!((state.cancelled, state.remaining_total), (Some(700), Some(0)));
    tokio::join!(worker.drain(SOON), other.drain(SOON));
}

async fn halt(client: &Client, limit: Duration) -> RouterState {
    let body = r#"{"trading_state":"halted","actor":"ops","reason":"test"}"#;
    let deadline = Timestamp::now().saturating_add(limit);
    let reply = client
        .caller
        .request(order_router::bus::subjects::STATE_SET, body.into(), deadline)
        .await;
    serde_json::from_slice(&reply.unwrap().body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_cancelled_by_the_deadline_is_counted_exactly() {
    let (mut rig, venue) = (Rig::start().await, Venue::new());
    rig.settings.brokers.task.call_timeout_ms = 60_000;
    rig.settings.brokers.task.cancel_queue_max = 256;
    venue.set(|behaviour| behaviour.keeps_open = true);
    let worker = Worker::start_with_brokers(&rig.settings, additional_brokers(&venue))
        .await
        .unwrap();
    let client = rig.caller().await;
    submit_all(&client, (0..90).map(|n| intent(&format!("o{n}"), &[])).collect()).await;
    venue.set(|behaviour| behaviour.cancel_delay = SOON);
    let limit = Duration::from_secs(2);
    for body in ["", r#"{"symbol":"BTCUSDT"}"#] {
        let (reply, _) = cancel_all(&client, "binance", body, limit).await;
        assert_eq!((reply.cancelled_total, reply.remaining_total), (0, 90), "{body}");
        assert_eq!(reply.remaining.len(), 90);
        assert!(
            reply
                .remaining
                .iter()
                .all(|report| report.status == OrderStatus::Accepted)
        );
    }
    let state = halt(&client, limit).await;
    assert_eq!((state.cancelled, state.remaining_total), (Some(0), Some(90)));
    assert_eq!(state.remaining.unwrap().len(), 90);
    venue.set(|behaviour| behaviour.cancel_delay = Duration::ZERO);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_that_changes_nothing_returns_the_order_as_it_is() {
    let (rig, venue) = (Rig::start().await, Venue::new());
    venue.set(|behaviour| (behaviour.keeps_open, behaviour.refuses_cancels) = (true, true));
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let client = rig.caller().await;
    let open = client.report(&intent("a1", &[])).await;
    let body = r#"{"client_order_id":"a1"}"#;
    assert_eq!(client.order("cancel", "binance", body).await.unwrap(), open);
    let (reply, _) = cancel_all(&client, "binance", "", SOON).await;
    assert_eq!((reply.cancelled_total, reply.remaining_total), (0, 1));
    assert_eq!(reply.remaining, [open]);
    // Of two cancels at once the venue's reply settles one; the other returns the same report.
    venue.set(|behaviour| (behaviour.refuses_cancels, behaviour.cancel_delay) = (false, Duration::from_millis(300)));
    let (one, two) = tokio::join!(
        client.order("cancel", "binance", body),
        client.order("cancel", "binance", body)
    );
    let report = one.unwrap();
    assert_eq!((report.status, report.version), (OrderStatus::Cancelled, 2));
    assert_eq!(
        report.reason.as_ref().map(|reason| reason.code),
        Some(ReasonCode::CancelRequested)
    );
    assert_eq!(two.unwrap(), report);
    let closed = client.order("cancel", "binance", body).await.unwrap_err();
    assert_eq!(closed.code, FaultCode::OrderClosed);
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_of_cancels_delays_a_cancel_of_all_and_loses_none() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    rig.settings.brokers.task.cancel_queue_max = 4;
    rig.settings.brokers.task.max_in_flight = 1;
    rig.settings.redis.response_timeout_ms = 10_000;
    rig.settings.redis.lease_ms = 60_000;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    submit_all(&client, (0..100).map(|n| ibkr(&format!("o{n}"), &[])).collect()).await;
    // Several requests share the queue: each retries what finds no room.
    let requests = (0..8).map(|_| cancel_all(&client, "ibkr", "", SOON));
    let replies = futures_util::future::join_all(requests).await;
    for (reply, _) in &replies {
        assert_eq!(reply.remaining_total, 0);
    }
    let again = client.call("orders.cancel_all.ibkr.default", "").await;
    assert!(!matches!(again, Err(RequestError::Timeout)));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark of some minutes: `make bench-cancel`"]
async fn cancel_of_ten_thousand_open_orders() {
    let orders: u64 = std::env::var("ORDERS").map_or(10_000, |orders| orders.parse().unwrap());
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    rig.settings.risk.max_open_orders = 1_000_000;
    rig.settings.redis.response_timeout_ms = 10_000;
    rig.settings.redis.lease_ms = 60_000;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    for what in ["cancel-all", "halt"] {
        let bodies = (0..orders).map(|n| ibkr(&format!("{what}-{n}"), &[("quantity", "0.1")]));
        submit_all(&client, bodies.collect()).await;
        rig.quiet().await;
        let begun = tokio::time::Instant::now();
        let cancelled = match what {
            "halt" => halt(&client, 4 * SOON).await.cancelled.unwrap(),
            _ => cancel_all(&client, "ibkr", "", 4 * SOON).await.0.cancelled_total,
        };
        println!(
            "{what}: {cancelled} of {orders} open orders cancelled in {:.2?}",
            begun.elapsed()
        );
        assert_eq!(cancelled, orders);
    }
    worker.drain(SOON).await;
}
