//! What a worker does when another worker, the store or the journal fails: each guard is tested alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::StreamExt;
use order_router::brokers::adapter::Placement;
use order_router::brokers::port::{BookError, PaperBook};
use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::reason::ReasonCode;
use order_router::domain::replace::LegWord;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{VenueOrderState, VenueReport};
use order_router::fault::FaultCode;
use order_router::wire::journal_report::build_journal_report;
use order_router::wire::report::ExecutionReport;
use order_router::worker::journaling::settlement::{Settler, StorePaperBook};
use redis::AsyncCommands;

use crate::conformance_store::ready_store;
use crate::remembered_view::record_name;
use crate::rig::{Client, Rig, SOON, intent};
use crate::store_scripts::{claimed, filled, order, settlement};
use crate::support::poll;
use crate::support::proxy::{Direction, Proxy};

const SUMS: &str = "sums:paper:default:binance.spot:BTCUSDT";
/// How long a test waits for an event that must not happen.
const SETTLE_TIME: Duration = Duration::from_millis(300);

/// Returns the intent an order came from.
fn intent_of(order: &Order) -> String {
    let quantity = order.quantity.decimal().to_string();
    let price = order.price.unwrap().decimal().to_string();
    let over = [
        ("quantity", quantity.as_str()),
        ("price", price.as_str()),
        ("time_in_force", "\"GTC\""),
    ];
    intent(order.client_order_id.as_str(), &over)
}

/// A rig whose leases outlast every test: no worker takes over a claim.
async fn rig_with_long_leases() -> Rig {
    let mut rig = Rig::start().await;
    rig.settings.redis.lease_ms = 60_000;
    rig
}

pub async fn delete_journal(client: &Client) {
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    jetstream.delete_stream(subjects::STREAM_REPORTS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_intent_claimed_elsewhere_is_redelivered_until_its_report_is_known() {
    let rig = rig_with_long_leases().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let store = ready_store(&rig).await;
    let (order, _) = claimed(&rig, &store, 100).await;
    let mut inbox = client.raw.subscribe("orders.replies.default.t1").await.unwrap();
    client.raw.flush().await.unwrap();
    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::new("default").unwrap());
    let deadline = Timestamp::now().saturating_add(SETTLE_TIME);
    let body = intent_of(&order).into();
    let reply_to = Some("orders.replies.default.t1");
    client
        .caller
        .publish_intent(&broker, &account, body, Some(deadline), reply_to)
        .await
        .unwrap();
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let intents = jetstream.get_stream(subjects::STREAM_INTENTS).await.unwrap();
    poll::until(SOON, "the intent is redelivered", async || {
        let name = subjects::intents_consumer(&broker);
        intents.consumer_info(name).await.unwrap().delivered.consumer_sequence >= 2
    })
    .await;
    store.settle(settlement(&filled(&order, 100))).await.unwrap();
    let reply = tokio::time::timeout(SOON, inbox.next()).await.unwrap().unwrap();
    let report = ExecutionReport::decode(&reply.payload).unwrap();
    assert_eq!(
        (report.status, report.order_id),
        (OrderStatus::Filled, order.order_id.to_string())
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_waits_for_an_order_that_is_being_sent() {
    let rig = rig_with_long_leases().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let store = ready_store(&rig).await;
    let (order, _) = claimed(&rig, &store, 100).await;
    let name = format!(r#"{{"order_id":"{}"}}"#, order.order_id);
    let subject = "orders.cancel.binance.default";
    // Its deadline comes first: the caller gets a receipt, and the claim is unchanged.
    let before = rig.store().await;
    let mut headers = HeaderMap::new();
    let deadline = Timestamp::now().saturating_add(SETTLE_TIME);
    headers.insert("Deadline", deadline.to_string());
    let reply = client.raw.request_with_headers(subject, headers, name.clone().into());
    let reply = tokio::time::timeout(SOON, reply).await.unwrap().unwrap();
    let receipt = ExecutionReport::decode(&reply.payload).unwrap();
    assert_eq!(receipt.receipt_code(), Some(ReasonCode::InFlight));
    assert_eq!(rig.store().await, before);
    // The order is settled first: the cancel ends it.
    let mut cancel = std::pin::pin!(client.order("cancel", "binance", &name));
    let early = tokio::time::timeout(SETTLE_TIME, &mut cancel).await;
    assert!(early.is_err(), "{early:?}");
    store.settle(settlement(&filled(&order, 40))).await.unwrap();
    let cancelled = cancel.await.unwrap();
    assert_eq!((cancelled.status, cancelled.version), (OrderStatus::Cancelled, 2));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_order_holds_no_reservation_when_its_fault_is_returned() {
    let mut rig = rig_with_long_leases().await;
    let proxy = Proxy::start(rig.redis.address()).await;
    rig.settings.redis.url = proxy.url("redis");
    rig.settings.redis.response_timeout_ms = 10_000;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    // The claim alone takes longer than the intent is valid: the paper venue finds it expired.
    proxy.delay(SETTLE_TIME);
    let end = Timestamp::now().saturating_add(SETTLE_TIME);
    let body = intent("late", &[("expires_at", &format!("\"{end}\""))]);
    let fault = client.fault(&body).await;
    assert_eq!(fault.code, FaultCode::IntentExpired, "{fault}");
    assert_eq!(rig.sum(SUMS, "long").await, 0);
    assert!(!rig.store_keys().await.iter().any(|key| key.starts_with("order:")));
    proxy.restore();
    assert_eq!(client.report(&intent("late", &[])).await.status, OrderStatus::Filled);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_behind_the_store_or_replaced_stops_a_running_worker() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.report(&intent("first", &[])).await;
    rig.quiet().await;
    let mut redis = rig.redis.connection().await;
    for (round, (field, value)) in [("journal_sequence", "1000"), ("journal_created", "another")]
        .into_iter()
        .enumerate()
    {
        let known: String = redis.hget("{or}:meta", field).await.unwrap();
        redis.hset::<_, _, _, ()>("{or}:meta", field, value).await.unwrap();
        let mut n = 0;
        poll::until(SOON, format!("{field}: no order is accepted"), async || {
            n += 1;
            let reply = client.submit(&intent(&format!("{round}-{n}"), &[])).await;
            matches!(reply, Err(RequestError::Fault(fault)) if fault.code == FaultCode::StoreUnavailable)
        })
        .await;
        redis.hset::<_, _, _, ()>("{or}:meta", field, known).await.unwrap();
        poll::until(SOON, "orders are accepted again", async || {
            client.submit(&intent(&format!("{round}-again"), &[])).await.is_ok()
        })
        .await;
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_releases_claims_of_an_earlier_epoch() {
    let rig = rig_with_long_leases().await;
    let worker = rig.worker().await;
    let store = ready_store(&rig).await;
    claimed(&rig, &store, 100).await;
    assert_eq!(rig.sum(SUMS, "long").await, 100);
    let mut redis = rig.redis.connection().await;
    redis::cmd("SCRIPT")
        .arg("FLUSH")
        .query_async::<()>(&mut redis)
        .await
        .unwrap();
    poll::until(SOON, "the claim is released", async || rig.sum(SUMS, "long").await == 0).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_appended_after_the_rebuild_is_replayed() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let claim = order(&rig, 100);
    let whole = filled(&claim, 100);
    let moved = claim.reservation_deltas().checked_add(&whole.deltas).unwrap();
    let body = build_journal_report(&whole.order, moved, 1, Metadata::new()).encode();
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let subject = subjects::report(&claim.broker, &claim.account_id);
    jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
    poll::until(SOON, "the event is replayed", async || {
        rig.sum(SUMS, "position").await == 100
    })
    .await;
    assert!(client.submit(&intent_of(&claim)).await.unwrap().is_replay);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_orders_and_loosening_are_refused_and_tightening_applies() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let limit = async || rig.sum("state", "daily_notional_limit").await;
    let set = async |limit: u64| {
        let body = format!(r#"{{"daily_notional_limit":{limit},"actor":"ops","reason":"test"}}"#);
        client.call("router.state.set", &body).await
    };
    set(1_000).await.unwrap();
    delete_journal(&client).await;
    assert!(set(2_000).await.is_err());
    assert_eq!(limit().await, 1_000_000_000);
    assert!(set(500).await.is_err());
    assert_eq!(limit().await, 500_000_000);
    let mut n = 0;
    poll::until(SOON, "no order is accepted", async || {
        n += 1;
        let body = intent(&format!("a{n}"), &[("quantity", "0.00001")]);
        matches!(client.submit(&body).await, Err(RequestError::Fault(fault)) if fault.code == FaultCode::PersistenceFailed)
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journaled_change_that_is_not_in_force_is_activated() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let event = r#"{"version":1,"daily_notional_limit":5,"actor":"ops","reason":"died","timestamp":"2026-01-01T00:00:00.000Z"}"#;
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let subject = subjects::event("state", None);
    jetstream.publish(subject, event.into()).await.unwrap().await.unwrap();
    poll::until(SOON, "the change is in force", async || {
        rig.sum("state", "daily_notional_limit").await == 5_000_000
    })
    .await;
    assert_eq!(
        client.fault(&intent("a1", &[])).await.code,
        FaultCode::DailyNotionalExceeded
    );
    worker.drain(SOON).await;
}

/// A book whose replies the proxy can hold back, and a placement for it with the report of a complete fill.
async fn book_behind(proxy: &Proxy, rig: &mut Rig) -> (StorePaperBook, Placement, VenueReport) {
    rig.settings.redis.url = proxy.url("redis");
    rig.settings.redis.response_timeout_ms = 200;
    let store = ready_store(rig).await;
    let (order, lease) = claimed(rig, &store, 100).await;
    let fills = filled(&order, 100).order.fills;
    let placement = Placement {
        reference_price: order.price.unwrap(),
        order,
        quote_currency: "USDT".to_owned(),
        deadline: Timestamp::now().saturating_add(SOON),
        lease,
        figures: Metadata::new(),
    };
    let report = VenueReport {
        broker_order_id: None,
        fills,
        state: VenueOrderState::Working,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    };
    (
        StorePaperBook::new(Settler::new(store, std::sync::Arc::default())),
        placement,
        report,
    )
}

/// Drops the replies that a proxy holds back and forwards the next ones, on a new connection only, so that none of the
/// dropped replies is among them.
async fn drop_replies(proxy: &Proxy) {
    let connections = proxy.accepted();
    proxy.cut_once();
    poll::until(SOON, "another connection", async || proxy.accepted() > connections).await;
    proxy.restore();
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_with_a_lost_reply_is_recognised_and_booked_once() {
    let mut rig = Rig::start().await;
    let proxy = Proxy::start(rig.redis.address()).await;
    let (book, placement, report) = book_behind(&proxy, &mut rig).await;
    proxy.stall_direction(Direction::ToClient);
    let lose_reply = async {
        poll::until(SOON, "the order is settled", async || {
            rig.sum(SUMS, "position").await == 100
        })
        .await;
        drop_replies(&proxy).await;
    };
    let (booked, ()) = tokio::join!(book.book_placement(&placement, report), lose_reply);
    assert_eq!(booked.unwrap().order.version, 1);
    assert_eq!(rig.sum(SUMS, "position").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_without_a_reply_or_lost_by_the_store_is_unknown() {
    let mut rig = Rig::start().await;
    let proxy = Proxy::start(rig.redis.address()).await;
    let (book, placement, report) = book_behind(&proxy, &mut rig).await;
    let record = format!(
        "{{or}}:{}",
        record_name("default", placement.order.client_order_id.as_str())
    );
    proxy.stall_direction(Direction::ToClient);
    let lose_record = async {
        poll::until(SOON, "the order is settled", async || {
            rig.sum(SUMS, "position").await == 100
        })
        .await;
        let mut redis = rig.redis.connection().await;
        redis.del::<_, ()>(&record).await.unwrap();
        drop_replies(&proxy).await;
    };
    let (lost, ()) = tokio::join!(book.book_placement(&placement, report.clone()), lose_record);
    assert!(matches!(lost, Err(BookError::Unknown(_))), "{lost:?}");
    proxy.stall_direction(Direction::ToClient);
    let unanswered = book.book_placement(&placement, report).await;
    assert!(matches!(unanswered, Err(BookError::Unknown(_))), "{unanswered:?}");
}
