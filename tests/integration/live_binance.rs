//! Live trading at the local exchange, by settings alone: what the venue does reaches the journal, whichever way it comes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;

use order_router::bus::router_client::RequestError;
use order_router::domain::order_terms::{Mode, OrderStatus};
use order_router::fault::FaultCode;
use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;
use serde_json::{Value, json};

use crate::rest_fixture::client;
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;
use crate::support::process::RouterProcess;
use crate::venue_fixture::{KEY, SECRET, TestVenue};

/// A router whose account `default` trades at a local exchange.
pub struct LiveRig {
    pub rig: Rig,
    pub venue: TestVenue,
    keys: tempfile::TempDir,
}

impl LiveRig {
    pub async fn start(venue_args: &[&str]) -> Self {
        let venue = TestVenue::start(venue_args).await;
        let keys = tempfile::tempdir().unwrap();
        let mut live = Self {
            rig: Rig::start().await,
            venue,
            keys,
        };
        let path = live.keys.path().join("venue.toml");
        write(&path, format!("api_key = \"{KEY}\"\nsecret = \"{SECRET}\"\n")).unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let brokers = &mut live.rig.settings.brokers;
        brokers.allow_live = true;
        brokers.inquiry.first_pause_ms = 50;
        brokers.inquiry.longest_pause_ms = 200;
        brokers.inquiry.not_found_window_ms = 1_000;
        // The tests' accounts hold what no position is, so that they begin with nothing.
        brokers.binance_live.book_opening_positions = false;
        let keys = &mut brokers.binance_live.keys;
        keys.insert("default".to_owned(), path.display().to_string());
        live.rig.settings.risk.max_live_order_notional = "20000".to_owned();
        live.point_at_venue();
        live
    }

    /// Points the settings at the venue, which may have another address after a restart.
    pub fn point_at_venue(&mut self) {
        let live = &mut self.rig.settings.brokers.binance_live;
        live.rest_url = self.venue.http.clone();
        live.websocket_api_url = format!("{}/ws-api/v3", self.venue.ws);
        live.market_streams_url = self.venue.ws.clone();
    }

    /// Starts a worker, switches to live, and waits until the venue takes orders.
    pub async fn worker(&self) -> (Worker, Client) {
        let worker = self.rig.worker().await;
        let client = self.rig.caller().await;
        if worker.router().control.mode() != Mode::Live {
            client.set_state(r#""mode":"live""#).await.unwrap();
        }
        takes_orders(&client).await;
        (worker, client)
    }
}

/// Waits until the venue takes orders through the workers there are.
pub async fn takes_orders(client: &Client) {
    poll::until(SOON, "the venue takes orders", async || {
        let probe = buy(&uuid::Uuid::now_v7().to_string(), "market", "0.001");
        client
            .submit(&probe)
            .await
            .is_ok_and(|reply| ExecutionReport::decode(&reply.body).is_ok())
    })
    .await;
}

pub fn buy(id: &str, order_type: &str, quantity: &str) -> String {
    let order_type = format!("\"{order_type}\"");
    let price = if order_type.contains("market") { "null" } else { "29900" };
    intent(
        id,
        &[("order_type", &order_type), ("quantity", quantity), ("price", price)],
    )
}

async fn report_of(client: &Client, id: &str) -> ExecutionReport {
    let order = json!({ "client_order_id": id }).to_string();
    client.order("get", "binance", &order).await.unwrap()
}

async fn wait_for(client: &Client, id: &str, status: OrderStatus) -> ExecutionReport {
    poll::eventually(SOON, format!("{id} is {status}"), async || {
        let order = json!({ "client_order_id": id }).to_string();
        let report = client.order("get", "binance", &order).await.ok()?;
        (report.status == status).then_some(report)
    })
    .await
}

/// Returns the journaled adjustments.
pub async fn adjustments(client: &Client) -> Vec<Value> {
    let entries = client.journal().await.into_iter();
    let adjustments = entries.filter(|entry| entry.subject.starts_with("orders.events.adjustment."));
    adjustments
        .map(|entry| serde_json::from_slice(&entry.body).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mode_decides_the_venue_and_an_order_keeps_its_own() {
    let live = LiveRig::start(&["--market-maker", "--orders-per-10s", "100000"]).await;
    let worker = live.rig.worker().await;
    let client = live.rig.caller().await;
    // A paper order rests across the switch.
    let resting = client.report(&ibkr("paper-rest", &[("quantity", "10")])).await;
    assert_eq!(
        (resting.mode, resting.status),
        (Mode::Paper, OrderStatus::PartiallyFilled)
    );
    let paper = client.report(&buy("paper-fill", "limit", "0.01")).await;
    assert_eq!((paper.mode, paper.status), (Mode::Paper, OrderStatus::Filled));
    worker.drain(SOON).await;

    let (worker, client) = live.worker().await;
    let filled = client.report(&buy("live-fill", "market", "0.01")).await;
    assert_eq!((filled.mode, filled.status), (Mode::Live, OrderStatus::Filled));
    // The other account has no key, and the other broker no live venue.
    let other = client.fault(&intent("other", &[("account_id", "\"other\"")])).await;
    assert_eq!(other.code, FaultCode::ModeUnavailable, "{other:?}");
    let aapl = client.fault(&ibkr("aapl", &[])).await;
    assert_eq!(aapl.code, FaultCode::ModeUnavailable, "{aapl:?}");
    // The paper order still fills in paper.
    let ended = poll::eventually(SOON, "the paper order fills", async || {
        let order = json!({ "order_id": resting.order_id }).to_string();
        let report = client.order("get", "ibkr", &order).await.ok()?;
        report.status.is_terminal().then_some(report)
    })
    .await;
    assert_eq!((ended.mode, ended.status), (Mode::Paper, OrderStatus::Filled));
    let executions = live.venue.executions().await;
    let at_venue = |id: &str| executions.iter().any(|one| one["clientOrderId"] == id);
    assert!(at_venue(&filled.order_id) && !at_venue(&paper.order_id) && !at_venue(&resting.order_id));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_live_orders_hold() {
    let live = LiveRig::start(&["--market-maker", "--orders-per-10s", "100000"]).await;
    let (worker, client) = live.worker().await;
    let large = client.fault(&buy("large", "market", "0.7")).await;
    assert_eq!(large.code, FaultCode::OrderSizeExceeded, "{large:?}");
    assert_eq!(large.rule_id.as_deref(), Some("live_order_size"));
    // Live venues are spot markets: what is not held cannot be sold, although the instrument allows it in paper.
    let short = intent(
        "short",
        &[
            ("side", "\"sell\""),
            ("order_type", "\"market\""),
            ("price", "null"),
            ("quantity", "0.1"),
        ],
    );
    let short = client.fault(&short).await;
    assert_eq!(short.rule_id.as_deref(), Some("position_limit"), "{short:?}");
    // A late order must not be sent, so an intent says when it is too late.
    let subject = "orders.submit.binance.default";
    let reply = client
        .raw
        .request(subject, buy("no-deadline", "market", "0.001").into());
    let problem: Value = serde_json::from_slice(&reply.await.unwrap().payload).unwrap();
    assert_eq!(
        (&problem["code"], &problem["field"]),
        (&json!("invalid_field"), &json!("expires_at")),
        "{problem}"
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resting_order_fills_by_the_stream() {
    let live = LiveRig::start(&["--market-maker", "--orders-per-10s", "100000"]).await;
    let (worker, client) = live.worker().await;
    let below = intent("rest", &[("quantity", "0.01"), ("price", "28000")]);
    assert_eq!(client.report(&below).await.status, OrderStatus::Accepted);
    // It rests at the venue, and is filled there in parts by the fault of that name.
    live.venue
        .faults(json!([{"name": "partial_fills", "count": 1, "on": ["place"]}]))
        .await;
    let parts = intent("parts", &[("quantity", "0.02"), ("price", "28000")]);
    let placed = client.report(&parts).await;
    assert!(!placed.status.is_terminal(), "{placed:?}");
    let filled = wait_for(&client, "parts", OrderStatus::Filled).await;
    assert!(filled.fills_total >= 4, "{filled:?}");
    assert_eq!(report_of(&client, "rest").await.status, OrderStatus::Accepted);
    // A cancel at the venue, by hand, arrives as well.
    let params = [
        ("symbol", "BTCUSDT"),
        ("origClientOrderId", report_of(&client, "rest").await.order_id.as_str()),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    live.venue
        .signed(reqwest::Method::DELETE, "/api/v3/order", &params)
        .await
        .ok();
    wait_for(&client, "rest", OrderStatus::Cancelled).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn word_of_the_venue_after_a_journaled_end_is_booked() {
    let live = LiveRig::start(&["--market-maker", "--orders-per-10s", "100000"]).await;
    let (worker, client) = live.worker().await;
    // The order is executed, its answer and its events are lost, and queries do not find it for longer than the window
    // after which it counts as not placed.
    live.venue
        .faults(json!([
            {"name": "answer_lost", "count": 1, "on": ["place"]},
            {"name": "order_hidden", "duration_ms": 600_000},
            {"name": "event_lost"},
        ]))
        .await;
    let body = buy("hidden", "market", "0.01");
    assert_eq!(client.report(&body).await.status, OrderStatus::Unknown);
    let rejected = wait_for(&client, "hidden", OrderStatus::Rejected).await;
    assert_eq!(rejected.filled_quantity.to_string(), "0");
    live.rig.quiet_outbox().await;
    // The venue finds it again: a reconciliation after a new connection reads its trade, long after the end.
    live.venue.faults(json!([])).await;
    live.venue.faults(json!([{"name": "stream_cut", "count": 1}])).await;
    client.report(&buy("next", "market", "0.001")).await;
    let reopened = wait_for(&client, "hidden", OrderStatus::Filled).await;
    assert_eq!(reopened.filled_quantity.to_string(), "0.01");
    assert!(reopened.version > rejected.version);
    // The same id sends nothing.
    assert_eq!(client.report(&body).await.order_id, reopened.order_id);
    let executions = live.venue.executions().await;
    let of_order = executions
        .iter()
        .filter(|one| one["clientOrderId"] == reopened.order_id.as_str());
    let quantity: rust_decimal::Decimal = of_order
        .map(|one| one["qty"].as_str().unwrap().parse::<rust_decimal::Decimal>().unwrap())
        .sum();
    assert_eq!(quantity.normalize().to_string(), "0.01");
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fill_that_nobody_here_ordered_is_booked_once_with_an_alert() {
    let live = LiveRig::start(&["--market-maker", "--orders-per-10s", "100000"]).await;
    let (worker, client) = live.worker().await;
    let by_hand = [
        ("type", "MARKET"),
        ("timeInForce", ""),
        ("price", ""),
        ("quantity", "0.05"),
        ("newClientOrderId", "by-hand"),
    ];
    live.venue.place(&by_hand).await.ok();
    let booked = poll::eventually(SOON, "the orphan is booked", async || {
        let adjustments = adjustments(&client).await;
        (!adjustments.is_empty()).then_some(adjustments)
    })
    .await;
    worker.drain(SOON).await;
    // Another worker reads the same trades again, and books none a second time.
    let (worker, client) = live.worker().await;
    poll::until(SOON, "all of it is booked", async || {
        let quantity: rust_decimal::Decimal = adjustments(&client)
            .await
            .iter()
            .filter(|one| !one["position"].is_null())
            .map(|one| {
                one["position"]["quantity"]
                    .to_string()
                    .parse::<rust_decimal::Decimal>()
                    .unwrap()
            })
            .sum();
        // Bought 0.05, and 0.1 % of it paid as commission.
        quantity.normalize().to_string() == "0.04995"
    })
    .await;
    let ids: Vec<String> = adjustments(&client)
        .await
        .iter()
        .map(|one| one["adjustment_id"].to_string())
        .collect();
    let unique: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
    assert!(booked.iter().all(|one| one["mode"] == "live"), "{booked:?}");
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_while_no_worker_runs_are_read_at_the_next_start() {
    let live = LiveRig::start(&["--market-maker", "--orders-per-10s", "100000"]).await;
    let (worker, client) = live.worker().await;
    let below = intent("missed", &[("quantity", "0.01"), ("price", "29900")]);
    let resting = client.report(&below).await;
    worker.drain(SOON).await;
    if !resting.status.is_terminal() {
        // Someone sells to it while nobody listens.
        live.venue
            .place(&[
                ("side", "SELL"),
                ("price", "29000"),
                ("quantity", "5"),
                ("timeInForce", "IOC"),
                ("selfTradePreventionMode", "NONE"),
            ])
            .await
            .ok();
    }
    let (worker, client) = live.worker().await;
    let filled = wait_for(&client, "missed", OrderStatus::Filled).await;
    assert_eq!(filled.filled_quantity.to_string(), "0.01");
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_rehearses_with_a_venue_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    let args = [
        "dev",
        "--with-venue",
        "--data-dir",
        path,
        "--http-addr",
        "127.0.0.1:0",
        "--nats-port",
        "0",
        "--sync",
        "default",
    ];
    let mut dev = RouterProcess::start(&args, []);
    let line = dev.wait_ready(2 * SOON).await;
    let part = |name: &str| {
        line.split(' ')
            .find_map(|part| part.strip_prefix(name))
            .unwrap()
            .to_owned()
    };
    let (http, venue) = (part("http="), part("venue="));
    let rest = client();
    let state = rest
        .put(format!("{http}/state"))
        .json(&json!({"mode": "live", "reason": "a rehearsal"}));
    assert_eq!(state.send().await.unwrap().status(), 200);
    let report: Value = poll::eventually(SOON, "the venue takes orders", async || {
        let order = json!({
            "broker": "binance", "venue": "binance.spot", "symbol": "ETHUSDT", "side": "buy", "quantity": "0.1",
            "order_type": "market", "client_order_id": "rehearsal",
        });
        let reply = rest.post(format!("{http}/orders")).json(&order).send().await.ok()?;
        if !reply.status().is_success() {
            return None;
        }
        reply.json().await.ok()
    })
    .await;
    assert_eq!(
        (&report["mode"], &report["status"]),
        (&json!("live"), &json!("filled")),
        "{report}"
    );
    let executions: Value = rest
        .get(format!("{venue}/control/executions"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(executions["executions"][0]["clientOrderId"], report["order_id"]);
    let brokers: Value = rest
        .get(format!("{http}/brokers"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(brokers["details"][0]["modes"], json!(["paper", "live"]), "{brokers}");
    assert!(dev.terminate(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn account_with_an_order_that_stays_unknown_opens_nothing_more() {
    let mut live = LiveRig::start(&["--market-maker", "--orders-per-10s", "100000"]).await;
    let inquiry = &mut live.rig.settings.brokers.inquiry;
    (inquiry.alert_after_s, inquiry.lock_after_s) = (1, 2);
    inquiry.not_found_window_ms = 600_000;
    let (worker, client) = live.worker().await;
    live.venue
        .faults(json!([
            {"name": "request_lost", "count": 1, "on": ["place"]},
            {"name": "event_lost"},
        ]))
        .await;
    assert_eq!(
        client.report(&buy("lost", "market", "0.01")).await.status,
        OrderStatus::Unknown
    );
    let denied = poll::eventually(SOON, "the account is locked", async || {
        let body = buy(&uuid::Uuid::now_v7().to_string(), "market", "0.001");
        match client.submit(&body).await {
            Err(RequestError::Fault(fault)) => Some(fault),
            _ => None,
        }
    })
    .await;
    assert_eq!(denied.code, FaultCode::ReduceOnly, "{denied:?}");
    assert!(denied.detail.contains("unknown_order"), "{denied:?}");
    worker.drain(SOON).await;
}
