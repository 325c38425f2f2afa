//! The typed calls of the client's crate against a real router: each call, lost replies, outages and streams.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use futures_util::StreamExt;
use order_router::config::brokers::RestFill;
use order_router_client::domain::id::{AccountId, BrokerId, ClientOrderId};
use order_router_client::domain::order_terms::{Mode, OrderStatus, Side, TradingState};
use order_router_client::domain::reason::ReasonCode;
use order_router_client::domain::symbol::Symbol;
use order_router_client::domain::time::Timestamp;
use order_router_client::fault::FaultCode;
use order_router_client::wire::adjustment::AdjustmentRequest;
use order_router_client::wire::heartbeat::{HeartbeatRequest, SwitchState};
use order_router_client::wire::lock::LockScopeDocument;
use order_router_client::wire::market_quote::MarketQuote;
use order_router_client::wire::note::NoteRequest;
use order_router_client::wire::report::ExecutionReport;
use order_router_client::wire::schema_numbers::NumberInput;
use order_router_client::wire::state::StateChangeRequest;
use order_router_client::{
    CallError, ConnectionSettings, Decimal, EventStream, ExecutionIntent, JournalEvent, OrderKey, RetrySchedule,
    RouterClient, StreamError,
};

use crate::rig::{Rig, SOON};
use crate::support::proxy::{Direction, Proxy};
use crate::support::{poll, servers};

/// A timeout that a busy machine keeps.
const LONG: Duration = Duration::from_secs(20);

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn broker() -> BrokerId {
    BrokerId::new("binance").unwrap()
}

fn account(id: &str) -> AccountId {
    AccountId::new(id).unwrap()
}

/// Returns a market order, which fills at once.
fn market(account: &str, id: &str) -> ExecutionIntent {
    let intent = ExecutionIntent::market("binance", "binance.spot", "BTCUSDT", Side::Buy, number("0.001"));
    ExecutionIntent {
        account_id: Some(account.to_owned()),
        client_order_id: Some(id.to_owned()),
        ..intent
    }
}

/// Returns a limit order that stays open in part, where the rest never fills.
fn resting(account: &str, id: &str) -> ExecutionIntent {
    let limit = ExecutionIntent::limit("ibkr", "ibkr.paper", "AAPL", Side::Buy, number("10"), number("180"));
    ExecutionIntent {
        account_id: Some(account.to_owned()),
        client_order_id: Some(id.to_owned()),
        ..limit
    }
}

async fn rig_with_resting_orders() -> Rig {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    rig
}

fn key(account_id: &str, id: &str) -> OrderKey {
    OrderKey::by_client_order_id(broker(), account(account_id), ClientOrderId::new(id).unwrap())
}

async fn connect(server: &servers::NatsServer) -> RouterClient {
    RouterClient::connect(ConnectionSettings::new(server.url()))
        .await
        .unwrap()
}

/// Connects through a proxy in front of NATS; replies are awaited for a short time only.
async fn connect_through(proxy: &Proxy) -> RouterClient {
    let client = RouterClient::connect(ConnectionSettings::new(proxy.url("nats")))
        .await
        .unwrap();
    client.with_retry(RetrySchedule {
        reply_timeout: Duration::from_millis(300),
        grace: Duration::from_millis(300),
        attempts: 20,
        ..RetrySchedule::default()
    })
}

fn refusal<T: std::fmt::Debug>(result: Result<T, CallError>) -> FaultCode {
    match result {
        Err(CallError::Refused(fault)) => fault.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_client_orders_are_submitted_read_and_cancelled() {
    let rig = rig_with_resting_orders().await;
    let worker = rig.worker().await;
    let client = connect(&rig.nats).await;

    let filled = client.submit(&market("fund", "a1"), LONG).await.unwrap();
    assert_eq!(
        (filled.status, filled.filled_quantity),
        (OrderStatus::Filled, number("0.001"))
    );
    assert!(filled.reply.journal_sequence.is_some() && !filled.reply.is_replay);
    let again = client.submit(&market("fund", "a1"), LONG).await.unwrap();
    assert!(again.reply.is_replay);
    assert_eq!(again.order_id, filled.order_id);
    let other = ExecutionIntent {
        quantity: NumberInput(number("0.002")),
        ..market("fund", "a1")
    };
    assert_eq!(
        refusal(client.submit(&other, LONG).await),
        FaultCode::ClientOrderIdConflict
    );

    let without_id = ExecutionIntent {
        client_order_id: None,
        ..market("fund", "")
    };
    let assigned = client.submit(&without_id, LONG).await.unwrap();
    assert_eq!(assigned.client_order_id.len(), 36);
    for read in [key("fund", "a1"), OrderKey::of(&filled).unwrap()] {
        assert_eq!(client.get(&read, LONG).await.unwrap().order_id, filled.order_id);
    }
    assert_eq!(
        refusal(client.get(&key("fund", "none"), LONG).await),
        FaultCode::UnknownOrder
    );
    assert_eq!(
        refusal(client.cancel(&key("fund", "a1"), LONG).await),
        FaultCode::OrderClosed
    );
    let invalid = ExecutionIntent {
        broker: "a.b".to_owned(),
        ..market("fund", "a2")
    };
    assert_eq!(refusal(client.submit(&invalid, LONG).await), FaultCode::InvalidField);

    let open = client.submit(&resting("fund", "b1"), LONG).await.unwrap();
    assert_eq!(open.status, OrderStatus::PartiallyFilled);
    let cancelled = client.cancel(&OrderKey::of(&open).unwrap(), LONG).await.unwrap();
    assert_eq!(cancelled.status, OrderStatus::Cancelled);
    for id in ["b2", "b3"] {
        client.submit(&resting("fund", id), LONG).await.unwrap();
    }
    client.submit(&resting("other", "b4"), LONG).await.unwrap();
    let ibkr = BrokerId::new("ibkr").unwrap();
    let none = client
        .cancel_all(&ibkr, &account("fund"), Some("MSFT"), LONG)
        .await
        .unwrap();
    assert_eq!((none.cancelled_total, none.remaining_total), (0, 0));
    let two = client.cancel_all(&ibkr, &account("fund"), None, LONG).await.unwrap();
    assert_eq!((two.cancelled_total, two.remaining_total), (2, 0));

    let note = NoteRequest {
        order_id: Some(filled.order_id.clone()),
        notes: Some("late".to_owned()),
        actor: Some("mira".to_owned()),
        ..NoteRequest::default()
    };
    let noted = client.note(&broker(), &account("fund"), note, LONG).await.unwrap();
    assert_eq!(noted.notes.as_deref(), Some("late"));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_client_halts_locks_and_adjusts() {
    let rig = rig_with_resting_orders().await;
    let worker = rig.worker().await;
    let client = connect(&rig.nats).await;

    assert_eq!(client.state(LONG).await.unwrap().trading_state, TradingState::Active);
    client.submit(&resting("fund", "c1"), LONG).await.unwrap();
    let halted = client.halt("mira", "news", LONG).await.unwrap();
    assert_eq!(
        (halted.trading_state, halted.cancelled),
        (TradingState::Halted, Some(1))
    );
    let refused = client.submit(&market("fund", "c2"), LONG).await.unwrap_err();
    assert!(!refused.is_retryable());
    assert_eq!(refusal::<()>(Err(refused)), FaultCode::TradingHalted);
    let resumed = client.resume("mira", "checked", LONG).await.unwrap();
    assert_eq!(resumed.trading_state, TradingState::Active);
    let dry_run = StateChangeRequest {
        mode: Some("dry_run".to_owned()),
        actor: Some("mira".to_owned()),
        reason: Some("rehearsal".to_owned()),
        ..StateChangeRequest::default()
    };
    assert_eq!(client.set_state(&dry_run, LONG).await.unwrap().mode, Mode::DryRun);
    let report = client.submit(&market("fund", "c3"), LONG).await.unwrap();
    assert_eq!(
        report.reason.as_ref().map(|reason| reason.code),
        Some(ReasonCode::DryRun)
    );
    let paper = StateChangeRequest {
        mode: Some("paper".to_owned()),
        ..dry_run
    };
    client.set_state(&paper, LONG).await.unwrap();

    let scope = LockScopeDocument::Account {
        account_id: "fund".to_owned(),
    };
    let lock = client.lock(scope, "mira", "reconciling", LONG).await.unwrap();
    assert_eq!(client.locks(LONG).await.unwrap().items[0].latch_id, lock.latch_id);
    assert_eq!(
        refusal(client.submit(&market("fund", "c4"), LONG).await),
        FaultCode::ReduceOnly
    );
    client.lift(&lock.latch_id, "mira", "reconciled", LONG).await.unwrap();
    assert!(client.locks(LONG).await.unwrap().items.is_empty());
    let gone = client.lift(&lock.latch_id, "mira", "again", LONG).await;
    assert_eq!(refusal(gone), FaultCode::NotFound);

    let beat = HeartbeatRequest {
        timeout_ms: 60_000,
        ..HeartbeatRequest::default()
    };
    let armed = client.heartbeat(&account("fund"), &beat, LONG).await.unwrap();
    assert_eq!(armed.state, SwitchState::Armed);
    let disarm = HeartbeatRequest {
        timeout_ms: 0,
        reason: Some("done".to_owned()),
        ..HeartbeatRequest::default()
    };
    let disarmed = client.heartbeat(&account("fund"), &disarm, LONG).await.unwrap();
    assert_eq!(disarmed.state, SwitchState::Disarmed);

    let deposit = AdjustmentRequest {
        adjustment_id: Some("deposit-1".to_owned()),
        account_id: Some("fund".to_owned()),
        cash: Some(NumberInput(number("2500.5"))),
        actor: Some("mira".to_owned()),
        reason: Some("deposit".to_owned()),
        ..AdjustmentRequest::default()
    };
    let booked = client.adjust(deposit.clone(), LONG).await.unwrap();
    assert_eq!((booked.cash, booked.reply.is_replay), (Some(number("2500.5")), false));
    assert!(client.adjust(deposit, LONG).await.unwrap().reply.is_replay);

    assert!(
        client
            .brokers(LONG)
            .await
            .unwrap()
            .brokers
            .contains(&"binance".to_owned())
    );
    assert!(client.health(LONG).await.unwrap().accepts_orders);
    assert!(client.limits(LONG).await.unwrap().version >= 1);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_client_publishes_quotes_that_orders_are_valued_at() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = connect(&rig.nats).await;
    let price = number("30123.5");
    poll::until(SOON, "a fill at the quote", async || {
        let quote = MarketQuote {
            bid: None,
            ask: None,
            last: Some(NumberInput(price)),
            timestamp: Timestamp::now(),
        };
        let symbol = Symbol::parse("BTC/USDT").unwrap();
        client.publish_quote("binance.spot", &symbol, &quote).await.unwrap();
        let intent = ExecutionIntent {
            client_order_id: None,
            ..market("fund", "")
        };
        let report = client.submit(&intent, LONG).await.unwrap();
        report.avg_price == Some(price)
    })
    .await;
    worker.drain(SOON).await;
}

/// Waits for the second request: the client has given up the reply to the first one.
async fn second_request(requests: &mut async_nats::Subscriber) {
    for _ in 0..2 {
        let request = tokio::time::timeout(SOON, requests.next()).await;
        request.expect("a request").expect("an open subscription");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_client_lost_reply_is_followed_by_a_retry_and_makes_one_order() {
    let rig = rig_with_resting_orders().await;
    let worker = rig.worker().await;
    let proxy = Proxy::start(rig.nats.address()).await;
    let client = connect_through(&proxy).await;
    let observer = rig.caller().await;

    let mut submissions = observer.raw.subscribe("orders.submit.binance.fund").await.unwrap();
    let mut cancels = observer.raw.subscribe("orders.cancel.ibkr.fund").await.unwrap();
    observer.raw.flush().await.unwrap();
    proxy.stall_direction(Direction::ToClient);
    let submission = tokio::spawn({
        let client = client.clone();
        async move { client.submit(&market("fund", "lost-1"), LONG).await }
    });
    second_request(&mut submissions).await;
    proxy.restore();
    let report = submission.await.unwrap().unwrap();
    assert_eq!(report.status, OrderStatus::Filled);
    assert!(report.reply.is_replay, "a later attempt has returned it");
    let journaled: Vec<ExecutionReport> = observer.reports().await;
    assert!(journaled.iter().all(|other| other.order_id == report.order_id));
    assert_eq!(rig.sum("sums:paper:fund:binance.spot:BTCUSDT", "position").await, 100);

    // The same for a cancel: the attempt that ended the order lost its reply.
    let open = client.submit(&resting("fund", "lost-2"), LONG).await.unwrap();
    let order = OrderKey::of(&open).unwrap();
    proxy.stall_direction(Direction::ToClient);
    let cancel = tokio::spawn({
        let (client, order) = (client.clone(), order.clone());
        async move { client.cancel(&order, LONG).await }
    });
    second_request(&mut cancels).await;
    proxy.restore();
    assert_eq!(cancel.await.unwrap().unwrap().status, OrderStatus::Cancelled);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_client_unknown_outcome_is_not_a_refusal() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let proxy = Proxy::start(rig.nats.address()).await;
    let client = connect_through(&proxy).await;

    // The order is executed, and no reply arrives.
    proxy.stall_direction(Direction::ToClient);
    let short = Duration::from_millis(800);
    let unknown = client.submit(&market("fund", "u1"), short).await.unwrap_err();
    let expected = CallError::OutcomeUnknown {
        client_order_id: Some("u1".to_owned()),
    };
    assert_eq!(unknown, expected);
    assert!(unknown.is_retryable());
    proxy.restore();
    assert_eq!(
        client.get(&key("fund", "u1"), LONG).await.unwrap().status,
        OrderStatus::Filled
    );

    // No connection: nothing is sent, and nothing is held back.
    proxy.cut();
    poll::until(SOON, "a lost connection", async || !client.bus().is_connected()).await;
    let refused = client.submit(&market("fund", "u2"), short).await.unwrap_err();
    assert!(refused.is_retryable());
    assert_eq!(refusal::<()>(Err(refused)), FaultCode::BusUnavailable);
    proxy.restore();
    poll::until(SOON, "a connection", async || client.bus().is_connected()).await;
    assert_eq!(
        refusal(client.get(&key("fund", "u2"), LONG).await),
        FaultCode::UnknownOrder
    );

    // No worker: nothing is sent.
    worker.drain(SOON).await;
    let refused = client.submit(&market("fund", "u3"), short).await;
    assert_eq!(refusal(refused), FaultCode::NoWorker);
    let started = std::time::Instant::now();
    let once = client.with_retry(RetrySchedule::once());
    assert_eq!(refusal(once.get(&key("fund", "u1"), LONG).await), FaultCode::NoWorker);
    assert!(started.elapsed() < LONG, "one attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_client_durable_intents_wait_for_a_worker() {
    let rig = Rig::start().await;
    // The first worker creates the work queue.
    rig.worker().await.drain(SOON).await;
    let client = connect(&rig.nats).await;
    let mut stored = client.submit_durable(&market("fund", "d1"), LONG).await.unwrap();
    assert!(stored.sequence > 0);
    let early = client.wait_report(&mut stored, Duration::from_millis(100)).await;
    assert_eq!(
        early.unwrap_err(),
        CallError::OutcomeUnknown {
            client_order_id: Some("d1".to_owned())
        }
    );
    let worker = rig.worker().await;
    let report = client.wait_report(&mut stored, LONG).await.unwrap();
    assert_eq!(
        (report.status, report.client_order_id.as_str()),
        (OrderStatus::Filled, "d1")
    );
    // The reply was returned: the report is read.
    assert_eq!(
        client.wait_report(&mut stored, LONG).await.unwrap().order_id,
        report.order_id
    );

    let beyond = ExecutionIntent {
        quantity: NumberInput(number("100000")),
        ..market("fund", "d2")
    };
    let mut denied = client.submit_durable(&beyond, LONG).await.unwrap();
    let denial = client.wait_report(&mut denied, LONG).await;
    assert_eq!(refusal(denial), FaultCode::OrderSizeExceeded);
    let nowhere = ExecutionIntent {
        broker: "nowhere".to_owned(),
        ..market("fund", "d3")
    };
    assert_eq!(
        refusal(client.submit_durable(&nowhere, LONG).await),
        FaultCode::UnknownBroker
    );
    worker.drain(SOON).await;
}

/// Reads a stream of reports until one of an order; returns the ids on the way.
async fn read_until(reports: &mut EventStream<ExecutionReport>, id: &str) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.last().map(String::as_str) != Some(id) {
        let report = tokio::time::timeout(SOON, reports.next())
            .await
            .expect("a report")
            .unwrap();
        ids.push(report.client_order_id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_client_streams_continue_after_a_cut_and_from_a_saved_place() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let proxy = Proxy::start(rig.nats.address()).await;
    let (client, submitter) = (connect_through(&proxy).await, connect(&rig.nats).await);

    submitter.submit(&market("fund", "s0"), LONG).await.unwrap();
    let mut new = client.reports(Some(&account("fund")), None);
    new.begin().await.unwrap();
    let start = new.sequence().unwrap();
    let mut all = client.reports(None, Some(0));
    for id in ["s1", "s2"] {
        submitter.submit(&market("fund", id), LONG).await.unwrap();
    }
    submitter.submit(&market("other", "o1"), LONG).await.unwrap();
    assert_eq!(read_until(&mut new, "s2").await, ["s1", "s2"]);
    assert_eq!(read_until(&mut all, "o1").await, ["s0", "s1", "s2", "o1"]);

    proxy.cut();
    for id in ["s3", "s4"] {
        submitter.submit(&market("fund", id), LONG).await.unwrap();
    }
    proxy.restore();
    // A reader that stops waiting loses nothing.
    let mut seen = Vec::new();
    poll::until(SOON, "both reports", async || {
        if let Ok(report) = tokio::time::timeout(Duration::from_millis(5), new.next()).await {
            seen.push(report.unwrap().client_order_id);
        }
        seen.len() >= 2
    })
    .await;
    assert_eq!(seen, ["s3", "s4"]);
    assert_eq!(read_until(&mut all, "s4").await, ["s3", "s4"]);

    let mut resumed = client.reports(Some(&account("fund")), Some(start));
    assert_eq!(read_until(&mut resumed, "s4").await, ["s1", "s2", "s3", "s4"]);
    assert_eq!(resumed.sequence(), new.sequence());

    client.halt("mira", "news", LONG).await.unwrap();
    let mut journal = client.journal(new.sequence());
    let entry = loop {
        let entry = tokio::time::timeout(SOON, journal.next())
            .await
            .expect("an entry")
            .unwrap();
        if let JournalEvent::State(_) = &entry.event {
            break entry;
        }
    };
    assert_eq!(Some(entry.sequence), journal.sequence());
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_client_streams_report_gaps_and_outages() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = connect(&rig.nats).await;
    let mut alerts = client.alerts(Some(&account("fund")), None);
    alerts.begin().await.unwrap();
    let beyond = ExecutionIntent {
        quantity: NumberInput(number("100000")),
        ..market("fund", "g0")
    };
    assert!(client.submit(&beyond, LONG).await.is_err());
    let alert = tokio::time::timeout(SOON, alerts.next())
        .await
        .expect("an alert")
        .unwrap();
    // Several rules stop it; their alerts come in any order.
    assert_eq!(alert.client_order_id.as_deref(), Some("g0"));
    assert_eq!(alert.account_id.as_deref(), Some("fund"));

    client.submit(&market("fund", "g1"), LONG).await.unwrap();
    let kept = client.submit(&market("fund", "g2"), LONG).await.unwrap();
    let first = kept.reply.journal_sequence.unwrap();
    let jetstream = async_nats::jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap());
    let stream = jetstream.get_stream("ORDER_REPORTS").await.unwrap();
    stream.purge().sequence(first).await.unwrap();
    let mut reports = client.reports(None, Some(1));
    let gap = reports.next().await.unwrap_err();
    assert_eq!(gap, StreamError::Gap { next_sequence: first });
    assert_eq!(read_until(&mut reports, "g2").await, ["g2"]);

    // Beyond the end: the stream is another one, or it lost entries.
    let mut ahead = client.reports(None, Some(first + 1_000));
    assert_eq!(
        ahead.next().await.unwrap_err(),
        StreamError::Gap { next_sequence: first }
    );
    assert_eq!(read_until(&mut ahead, "g2").await, ["g2"]);

    jetstream.delete_stream("RISK_ALERTS").await.unwrap();
    let mut lost = client
        .alerts(None, None)
        .with_outage_timeout(Duration::from_millis(500));
    assert!(matches!(lost.next().await, Err(StreamError::Unavailable(_))));
    worker.drain(SOON).await;
}
