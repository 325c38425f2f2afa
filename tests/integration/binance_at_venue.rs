//! The live adapter of Binance Spot in a worker, before the local exchange: whatever the exchange answers, each order is
//! executed there at most once, and ends here with what was executed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use order_router::brokers::binance::adapter::BinanceSpot;
use order_router::brokers::binance::credentials::{ApiCredentials, CredentialSource};
use order_router::brokers::binance::memory_ledger::MemoryLedger;
use order_router::brokers::binance::session::VenueSession;
use order_router::brokers::binance::settings::{BinanceSettings, TimeLimits, VenueUrls};
use order_router::brokers::binance::transport::venue_stream::tls_with_roots;
use order_router::brokers::binance::{maintenance, reconciliation, user_stream};
use order_router::brokers::port::{InboxError, TradeReading, VenueInbox, VenueNotice};
use order_router::brokers::task::BrokerTask;
use order_router::domain::order::Order;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::symbol::Symbol;
use order_router::domain::time::Timestamp;
use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;
use order_router::worker::lifecycle::broker_tasks::AdditionalBrokers;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;
use crate::venue_fixture::{KEY, SECRET, TestVenue};

/// Counts the venue's own reports and settles none: here orders end by the answers to placements, cancels and inquiries.
#[derive(Default)]
struct CountingInbox(AtomicUsize);

impl VenueInbox for CountingInbox {
    async fn deliver(&self, _: VenueNotice) -> Result<(), InboxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn open_orders(&self, _: usize) -> Result<Vec<Order>, InboxError> {
        Ok(Vec::new())
    }

    async fn settled_trades(&self, _: &Symbol) -> Option<Timestamp> {
        None
    }

    async fn record_settled_trades(&self, _: &Symbol, _: Timestamp, _: TradeReading) -> bool {
        true
    }
}

/// Returns the settings of a session at a venue whose REST API is reached at this address.
pub fn settings_before(venue: &TestVenue, rest: String) -> BinanceSettings {
    BinanceSettings {
        urls: VenueUrls {
            rest,
            websocket_api: format!("{}/ws-api/v3", venue.ws),
            market_streams: venue.ws.clone(),
        },
        credentials: CredentialSource::Environment {
            key_variable: "UNUSED_KEY".to_owned(),
            secret_variable: "UNUSED_SECRET".to_owned(),
        },
        symbols: vec![Symbol::parse("BTCUSDT").unwrap()],
        self_trade_prevention: "EXPIRE_MAKER".to_owned(),
        time_limits: TimeLimits::default(),
    }
}

/// Returns the factory of the adapter before a venue.
fn adapter_before(venue: &TestVenue, inbox: &Arc<CountingInbox>, stop: &CancellationToken) -> AdditionalBrokers {
    let settings = settings_before(venue, venue.http.clone());
    let (inbox, stop) = (inbox.clone(), stop.clone());
    Box::new(move |ports| {
        let credentials = ApiCredentials::new(KEY, SECRET).unwrap();
        let tls = tls_with_roots(rustls::RootCertStore::empty()).unwrap();
        let ledger = Arc::new(MemoryLedger::default());
        let session = Arc::new(VenueSession::new(&settings, credentials, ledger, inbox, &tls).unwrap());
        tokio::spawn(maintenance::run(session.clone(), stop.clone()));
        tokio::spawn(user_stream::run(session.clone(), stop.clone()));
        tokio::spawn(reconciliation::run(session.clone(), stop));
        let adapter = BinanceSpot::new(session, ports.send_gate.clone()).unwrap();
        vec![BrokerTask::spawn(adapter, &ports.task_settings).0]
    })
}

/// Waits until an order has ended, and returns its report.
async fn ended(client: &Client, id: &str) -> ExecutionReport {
    let order = json!({ "client_order_id": id }).to_string();
    poll::eventually(2 * SOON, format!("{id} has ended"), async || {
        let report = client.order("get", "binance", &order).await.ok()?;
        report.status.is_terminal().then_some(report)
    })
    .await
}

/// Returns what the venue has executed of an order: the quantity of each execution.
fn quantities<'a>(executions: &'a [Value], order_id: &str) -> Vec<&'a str> {
    let of_order = executions.iter().filter(|one| one["clientOrderId"] == order_id);
    of_order.map(|one| one["qty"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_is_executed_at_most_once_whatever_the_venue_answers() {
    let venue = TestVenue::start(&["--market-maker", "--orders-per-10s", "100000"]).await;
    let (mut rig, stop) = (Rig::start().await, CancellationToken::new());
    let inbox = Arc::new(CountingInbox::default());
    rig.settings.brokers.inquiry.first_pause_ms = 50;
    rig.settings.brokers.inquiry.longest_pause_ms = 200;
    rig.settings.brokers.inquiry.not_found_window_ms = 1_500;
    let worker = Worker::start_with_brokers(&rig.settings, adapter_before(&venue, &inbox, &stop))
        .await
        .unwrap();
    let client = rig.caller().await;
    let buy = |id: &str| {
        intent(
            id,
            &[("order_type", "\"market\""), ("quantity", "0.01"), ("price", "null")],
        )
    };
    // The adapter takes orders once it knows the venue's clock and rules.
    poll::until(SOON, "the adapter is ready", async || {
        client
            .submit(&buy("first"))
            .await
            .is_ok_and(|reply| ExecutionReport::decode(&reply.body).is_ok())
    })
    .await;
    let mut expected = vec![("first".to_owned(), true)];
    for (fault, executes) in [
        ("answer_lost", true),
        ("error_after", true),
        ("timeout_after", true),
        ("request_lost", false),
        ("error_before", false),
        ("timeout_before", false),
    ] {
        venue
            .faults(json!([{"name": fault, "count": 1, "on": ["place"]}]))
            .await;
        let report = client.report(&buy(fault)).await;
        assert_eq!(report.status, OrderStatus::Unknown, "{fault}");
        assert_eq!(venue.injected(fault).await, 1);
        expected.push((fault.to_owned(), executes));
    }
    for (id, executes) in expected {
        let report = ended(&client, &id).await;
        // The same id again sends nothing.
        assert_eq!(client.report(&buy(&id)).await.order_id, report.order_id);
        let executions = venue.executions().await;
        let executed = quantities(&executions, &report.order_id);
        let status = if executes {
            OrderStatus::Filled
        } else {
            OrderStatus::Rejected
        };
        assert_eq!((report.status, executed.is_empty()), (status, !executes), "{id}");
        let total: rust_decimal::Decimal = executed
            .iter()
            .map(|quantity| quantity.parse::<rust_decimal::Decimal>().unwrap())
            .sum();
        let filled: rust_decimal::Decimal = report.filled_quantity.to_string().parse().unwrap();
        assert_eq!(total, filled, "{id}: {executions:?}");
        assert_eq!(u32::try_from(executed.len()).unwrap(), report.fills_total, "{id}");
    }
    assert!(
        inbox.0.load(Ordering::SeqCst) > 0,
        "the venue's own reports arrive as well"
    );
    stop.cancel();
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resting_order_is_cancelled_at_the_venue() {
    let venue = TestVenue::start(&[]).await;
    let (rig, stop) = (Rig::start().await, CancellationToken::new());
    let inbox = Arc::new(CountingInbox::default());
    let worker = Worker::start_with_brokers(&rig.settings, adapter_before(&venue, &inbox, &stop))
        .await
        .unwrap();
    let client = rig.caller().await;
    let body = intent("low", &[("quantity", "0.01"), ("price", "29900")]);
    let report = poll::eventually(SOON, "the venue has the order", async || {
        let reply = client.submit(&body).await.ok()?;
        ExecutionReport::decode(&reply.body).ok()
    })
    .await;
    assert_eq!(report.status, OrderStatus::Accepted);
    let cancelled = client.order("cancel", "binance", r#"{"client_order_id":"low"}"#).await;
    assert_eq!(cancelled.unwrap().status, OrderStatus::Cancelled);
    let open = venue
        .signed(reqwest::Method::GET, "/api/v3/openOrders", &[("symbol", "BTCUSDT")])
        .await
        .ok();
    assert_eq!(open, json!([]));
    stop.cancel();
    worker.drain(SOON).await;
}
