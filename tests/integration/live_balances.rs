//! The balances of an API key at the local exchange: compared with what the journal makes them, exactly, and never booked
//! twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::AccountId;
use order_router::domain::order_terms::{Mode, OrderStatus};
use order_router::domain::quantity::from_quantity_units;
use order_router::fault::FaultCode;
use order_router::store::sums::ledgers::LedgerOwner;
use order_router::wire::balance::{BALANCE_EVENT_KIND, BalanceChange, BalanceEvent};
use order_router::wire::environment::ENVIRONMENT_EVENT_KIND;
use order_router::worker::Worker;
use serde_json::{Value, json};

use crate::limit_breaches::{lock_ids, signals};
use crate::limits_in_force::{command, text};
use crate::live_binance::{LiveRig, adjustments, buy};
use crate::rig::{Client, SOON, intent};
use crate::support::poll;

const LOCK: &str = "live.symbol.binance.spot.BTCUSDT.balance_difference";

/// A router whose account holds 2 BTC and 1000000 USDT, and whose balances are compared all the time.
pub async fn live_rig(more: &[&str]) -> LiveRig {
    let args = [
        "--market-maker",
        "--orders-per-10s",
        "100000",
        "--balance",
        "BTC=2",
        "--balance",
        "USDT=1000000",
    ];
    let mut live = LiveRig::start(&[&args[..], more].concat()).await;
    let settings = &mut live.rig.settings.brokers.binance_live;
    settings.balance_interval_ms = 200;
    settings.balance_lock_after_s = 1;
    live
}

/// Returns the journaled ledgers of the key.
pub async fn ledgers(client: &Client) -> Vec<BalanceEvent> {
    let entries = client.journal().await.into_iter();
    let events = entries.filter(|entry| subjects::parse_event_kind(&entry.subject) == Some(BALANCE_EVENT_KIND));
    events
        .map(|entry| serde_json::from_slice(&entry.body).unwrap())
        .collect()
}

pub async fn wait_for(client: &Client, change: BalanceChange) -> BalanceEvent {
    poll::eventually(SOON, format!("a ledger is {change:?}"), async || {
        ledgers(client).await.into_iter().rfind(|ledger| ledger.event == change)
    })
    .await
}

/// Moves an amount into the account from outside; below zero, out of it.
async fn transfer(live: &LiveRig, asset: &str, amount: &str) {
    let document = json!({"account": "venue-key", "asset": asset, "amount": amount});
    live.venue.control("/control/transfers", document).await.ok();
}

/// Moves an amount without an event of the venue's.
pub async fn hidden_transfer(live: &LiveRig, asset: &str, amount: &str) {
    live.venue.faults(json!([{"name": "event_lost"}])).await;
    transfer(live, asset, amount).await;
    live.venue.faults(json!([])).await;
}

/// Returns the openings that were booked: symbol and quantity.
async fn openings(client: &Client) -> Vec<(String, String)> {
    let of_opening = |one: &Value| one["adjustment_id"].as_str().unwrap().starts_with("opening:");
    let booked = adjustments(client).await.into_iter().filter(of_opening);
    booked
        .map(|one| {
            let position = &one["position"];
            (
                position["symbol"].as_str().unwrap().to_owned(),
                position["quantity"].to_string(),
            )
        })
        .collect()
}

/// Returns the assets that differ, and by how much.
pub fn differing(ledger: &BalanceEvent) -> Vec<(&str, String)> {
    let differences = ledger.assets.iter();
    let differences = differences
        .filter_map(|(asset, balance)| Some((asset.as_str(), balance.difference.as_ref()?.amount.to_string())));
    differences.collect()
}

pub async fn drain(workers: Vec<Worker>) {
    for worker in workers {
        worker.drain(SOON).await;
    }
}

/// Returns the live position of the account, in BTC.
async fn position(worker: &Worker) -> Decimal {
    let owner = LedgerOwner::Account(Mode::Live, AccountId::new("default").unwrap());
    let ledger = worker.router().store.read_ledger(owner).await.unwrap();
    let held = ledger.holdings.iter().find(|one| one.symbol.as_str() == "BTCUSDT");
    held.map_or(Decimal::ZERO, |held| from_quantity_units(held.position))
}

#[tokio::test(flavor = "multi_thread")]
async fn holdings_become_positions_once_whatever_restarts() {
    let mut live = live_rig(&[]).await;
    live.rig.settings.brokers.binance_live.book_opening_positions = true;
    let (one, client) = live.worker().await;
    let two = live.rig.worker().await;
    let opened = wait_for(&client, BalanceChange::Opened).await;
    assert_eq!(opened.accounts, ["default"]);
    // A probe bought some before: the position is the balance all the same.
    let balance = opened.assets["BTC"].amount;
    assert_eq!(position(&one).await, balance);
    let booked = openings(&client).await;
    assert_eq!(booked, [("BTCUSDT".to_owned(), "2".to_owned())]);
    // Without the opening position this would be a short sale.
    let sale = [
        ("side", "\"sell\""),
        ("order_type", "\"market\""),
        ("price", "null"),
        ("quantity", "0.05"),
    ];
    let sale = client.report(&intent("sale", &sale)).await;
    assert!(sale.filled_quantity.is_positive(), "{sale:?}");
    live.rig.quiet().await;
    let held = position(&one).await;
    assert_eq!(balance.checked_sub(held), Some(sale.filled_quantity));
    drain(vec![one, two]).await;
    live.rig.redis.flushall().await;
    let worker = live.rig.worker().await;
    // Its first comparison finds what is hidden, and nothing else.
    hidden_transfer(&live, "USDT", "1").await;
    let found = wait_for(&client, BalanceChange::Differs).await;
    assert_eq!(found.assets["BTC"].difference, None);
    assert_eq!(openings(&client).await, booked);
    assert_eq!(position(&worker).await, held);
    let ledgers = ledgers(&client).await;
    let opened = ledgers.iter().filter(|one| one.event == BalanceChange::Opened);
    assert_eq!(opened.count(), 1);
    drain(vec![worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_fees_orphans_and_transfers_make_the_venues_balances_exactly() {
    let live = live_rig(&[]).await;
    let (one, client) = live.worker().await;
    let two = live.rig.worker().await;
    wait_for(&client, BalanceChange::Opened).await;
    for n in 0..6 {
        let side = if n % 2 == 0 { "\"buy\"" } else { "\"sell\"" };
        let body = intent(
            &format!("trade-{n}"),
            &[
                ("side", side),
                ("order_type", "\"market\""),
                ("price", "null"),
                ("quantity", if n % 2 == 0 { "0.013" } else { "0.011" }),
            ],
        );
        assert_eq!(client.report(&body).await.status, OrderStatus::Filled);
    }
    live.venue
        .faults(json!([{"name": "partial_fills", "count": 1, "on": ["place"]}]))
        .await;
    let resting = intent("rest", &[("quantity", "0.02"), ("price", "29000")]);
    client.report(&resting).await;
    // Its parts fill over time; none of their events is lost below.
    poll::until(SOON, "the resting order fills", async || {
        let order = json!({ "client_order_id": "rest" }).to_string();
        let report = client.order("get", "binance", &order).await;
        report.is_ok_and(|report| report.status == OrderStatus::Filled)
    })
    .await;
    for side in ["BUY", "SELL"] {
        let by_hand = [
            ("side", side),
            ("type", "MARKET"),
            ("timeInForce", ""),
            ("price", ""),
            ("quantity", "0.007"),
        ];
        live.venue.place(&by_hand).await.ok();
    }
    transfer(&live, "USDT", "250.5").await;
    transfer(&live, "BTC", "-0.25").await;
    poll::until(SOON, "transfers and orphans are journaled", async || {
        let transfers: usize = ledgers(&client).await.last().map_or(0, |ledger| ledger.transfers.len());
        let orphans = adjustments(&client).await.len();
        transfers == 2 && orphans >= 4
    })
    .await;
    live.rig.quiet().await;
    // Both workers heard of both; nothing differs but what is hidden now, to the last digit.
    hidden_transfer(&live, "BTC", "0.00000001").await;
    let found = wait_for(&client, BalanceChange::Differs).await;
    assert_eq!(differing(&found), [("BTC", "0.00000001".to_owned())]);
    let changes: Vec<BalanceChange> = ledgers(&client).await.iter().map(|ledger| ledger.event).collect();
    let count = |change| changes.iter().filter(|one| **one == change).count();
    assert_eq!(
        (count(BalanceChange::Opened), count(BalanceChange::Differs)),
        (1, 1),
        "{changes:?}"
    );
    drain(vec![one, two]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_difference_alerts_then_locks_the_symbols_until_they_are_lifted() {
    let live = live_rig(&[]).await;
    let (worker, client) = live.worker().await;
    wait_for(&client, BalanceChange::Opened).await;
    hidden_transfer(&live, "BTC", "-0.5").await;
    let locked = wait_for(&client, BalanceChange::Locked).await;
    assert!(locked.assets["BTC"].difference.is_some(), "{locked:?}");
    assert_eq!(lock_ids(&client).await, [LOCK]);
    let fault = client.fault(&buy("open", "market", "0.01")).await;
    assert!(fault.detail.contains(LOCK), "{fault:?}");
    let other = intent(
        "other",
        &[
            ("symbol", "\"ETHUSDT\""),
            ("order_type", "\"market\""),
            ("price", "null"),
            ("quantity", "0.1"),
        ],
    );
    assert_eq!(client.report(&other).await.status, OrderStatus::Filled);
    poll::until(SOON, "alert and lock are published", async || {
        let found = signals(&client).await;
        let count = |signal: &str| found.iter().filter(|one| *one == signal).count();
        count("alert balance_difference default") == 1 && count("lock balance_difference _") == 1
    })
    .await;
    // A restart without Redis keeps both.
    live.rig.quiet().await;
    drain(vec![worker]).await;
    live.rig.redis.flushall().await;
    let worker = live.rig.worker().await;
    let fault = client.fault(&buy("again", "market", "0.01")).await;
    assert_eq!(fault.code, FaultCode::ReduceOnly, "{fault:?}");
    client.lift(LOCK).await.unwrap();
    let accepted = wait_for(&client, BalanceChange::Accepted).await;
    assert_eq!(accepted.assets["BTC"].difference, None);
    poll::until(SOON, "openings pass", async || {
        client
            .submit(&buy(&uuid::Uuid::now_v7().to_string(), "market", "0.01"))
            .await
            .is_ok()
    })
    .await;
    assert!(lock_ids(&client).await.is_empty());
    drain(vec![worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fee_of_an_orphan_without_a_rate_closes_its_account_until_it_is_priced() {
    let mut live = live_rig(&[]).await;
    for instrument in &mut live.rig.settings.instruments.0 {
        if instrument.symbol == "BTCUSDT" {
            instrument.base = None;
        }
    }
    let worker = live.rig.worker().await;
    let client = live.rig.caller().await;
    client.set_state(r#""mode":"live""#).await.unwrap();
    poll::until(SOON, "the venue takes orders", async || {
        let probe = intent(
            "probe",
            &[
                ("symbol", "\"ETHUSDT\""),
                ("order_type", "\"market\""),
                ("price", "null"),
                ("quantity", "0.01"),
            ],
        );
        client.submit(&probe).await.is_ok()
    })
    .await;
    let by_hand = [
        ("type", "MARKET"),
        ("timeInForce", ""),
        ("price", ""),
        ("quantity", "0.05"),
        ("newClientOrderId", "by-hand"),
    ];
    live.venue.place(&by_hand).await.ok();
    poll::until(SOON, "the account is locked", async || {
        lock_ids(&client)
            .await
            .contains(&"live.account.default.unpriced_fee".to_owned())
    })
    .await;
    let fees: Vec<Value> = adjustments(&client)
        .await
        .into_iter()
        .filter(|one| !one["fee"].is_null())
        .collect();
    assert!(
        !fees.is_empty() && fees.iter().all(|one| one["fee"]["price"].is_null()),
        "{fees:?}"
    );
    client.lift("live.account.default.unpriced_fee").await.unwrap();
    let eth = intent(
        "eth",
        &[
            ("symbol", "\"ETHUSDT\""),
            ("order_type", "\"market\""),
            ("price", "null"),
            ("quantity", "0.01"),
        ],
    );
    let fault = client.fault(&eth).await;
    assert_eq!(fault.code, FaultCode::RiskLocked, "{fault:?}");
    // The order filled in several parts, some of which may arrive now.
    poll::until(SOON, "the account is open", async || {
        for one in adjustments(&client).await {
            if one["fee"].is_object() && one["fee"]["price"].is_null() {
                let id = one["adjustment_id"].as_str().unwrap().replace("orphan", "price");
                let body = json!({"adjustment_id": id, "account_id": "default", "venue": "binance.spot",
                    "symbol": "BTCUSDT", "fee": one["fee"]["amount"], "fee_currency": "BTC", "price": "30000",
                    "actor": "mira", "reason": "fee"});
                client.call(subjects::ADJUST, &body.to_string()).await.unwrap();
            }
        }
        let _ = client.lift("live.account.default.unpriced_fee").await;
        let eth = intent(
            &uuid::Uuid::now_v7().to_string(),
            &[
                ("symbol", "\"ETHUSDT\""),
                ("order_type", "\"market\""),
                ("price", "null"),
                ("quantity", "0.01"),
            ],
        );
        client.submit(&eth).await.is_ok()
    })
    .await;
    drain(vec![worker]).await;
}

/// Puts an environment on the journal, as a worker with other settings does.
async fn record_environment(client: &Client, environment: &str) {
    let event = json!({"broker": "binance", "environment": environment, "actor": "order-router",
        "timestamp": "2026-03-02T09:30:00.000000Z"});
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let subject = subjects::named_event(ENVIRONMENT_EVENT_KIND, "binance");
    let published = jetstream.publish(subject, event.to_string().into()).await.unwrap();
    published.await.unwrap();
}

async fn recorded_environments(client: &Client) -> Vec<String> {
    let entries = client.journal().await.into_iter();
    let events = entries.filter(|entry| entry.subject == "orders.events.environment.binance");
    events
        .map(|entry| {
            serde_json::from_slice::<Value>(&entry.body).unwrap()["environment"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_of_live_orders_never_mix() {
    let live = live_rig(&[]).await;
    let (worker, client) = live.worker().await;
    assert_eq!(recorded_environments(&client).await, ["local"]);
    // A worker of another environment: this one sends nothing more.
    record_environment(&client, "testnet").await;
    poll::until(SOON, "orders are refused", async || {
        let order = buy(&uuid::Uuid::now_v7().to_string(), "market", "0.001");
        matches!(client.submit(&order).await, Err(RequestError::Fault(fault)) if fault.detail.contains("another environment"))
    })
    .await;
    live.rig.quiet().await;
    worker.drain(SOON).await;
    // The account holds what was bought here.
    let refused = Worker::start(&live.rig.settings).await.unwrap_err().to_string();
    for part in ["local", "testnet", "BTCUSDT (position 0.0"] {
        assert!(refused.contains(part), "{refused}");
    }
    // Redis is lost, the journal is not.
    live.rig.redis.flushall().await;
    assert!(Worker::start(&live.rig.settings).await.is_err());
    let mut paper = live.rig.settings.clone();
    paper.brokers.allow_live = false;
    let worker = Worker::start(&paper).await.unwrap();
    let held = position(&worker).await;
    assert!(held.is_positive(), "{held}");
    worker.drain(SOON).await;
    record_environment(&client, "local").await;
    live.rig.worker().await.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_live_order_whose_key_is_removed_is_named_and_stays_open() {
    let mut live = live_rig(&[]).await;
    let (worker, client) = live.worker().await;
    let resting = client
        .report(&intent("rest", &[("quantity", "0.01"), ("price", "28000")]))
        .await;
    assert_eq!(resting.status, OrderStatus::Accepted);
    live.rig.quiet().await;
    worker.drain(SOON).await;
    let with_keys = live.rig.settings.clone();
    live.rig.settings.brokers.binance_live.keys.clear();
    live.rig.settings.brokers.allow_live = false;
    let worker = live.rig.worker().await;
    poll::until(SOON, "alert and health name it", async || {
        let alert = signals(&client)
            .await
            .contains(&"alert live_key_missing default".to_owned());
        let health = client.call(subjects::HEALTH, "{}").await.unwrap();
        let health: Value = serde_json::from_slice(&health).unwrap();
        let detail = health["orders"]["detail"].as_str().unwrap_or_default();
        alert && health["accepts_orders"] == true && detail.contains("1 live orders of the account default")
    })
    .await;
    let order = json!({ "order_id": resting.order_id }).to_string();
    assert_eq!(
        client.order("get", "binance", &order).await.unwrap().status,
        OrderStatus::Accepted
    );
    worker.drain(SOON).await;
    live.rig.settings = with_keys;
    let worker = live.rig.worker().await;
    poll::until(SOON, "it is cancelled at the venue", async || {
        client
            .order("cancel", "binance", &order)
            .await
            .is_ok_and(|report| report.status == OrderStatus::Cancelled)
    })
    .await;
    let health = client.call(subjects::HEALTH, "{}").await.unwrap();
    let health: Value = serde_json::from_slice(&health).unwrap();
    assert_eq!(health["orders"]["detail"], Value::Null);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_one_key_share_its_ledger_and_their_holdings_are_listed() {
    let mut live = live_rig(&[]).await;
    let settings = &mut live.rig.settings.brokers.binance_live;
    settings.book_opening_positions = true;
    let file = settings.keys["default"].clone();
    settings.keys.insert("second".to_owned(), file);
    let (worker, client) = live.worker().await;
    let opened = wait_for(&client, BalanceChange::Opened).await;
    assert_eq!(opened.accounts, ["default", "second"]);
    let second = intent(
        "second",
        &[
            ("account_id", "\"second\""),
            ("order_type", "\"market\""),
            ("price", "null"),
            ("quantity", "0.02"),
        ],
    );
    assert_eq!(client.report(&second).await.status, OrderStatus::Filled);
    assert_eq!(
        client.report(&buy("first", "market", "0.01")).await.status,
        OrderStatus::Filled
    );
    live.rig.quiet().await;
    hidden_transfer(&live, "USDT", "-3").await;
    let found = wait_for(&client, BalanceChange::Differs).await;
    let amount = |asset: &str| {
        found.assets[asset]
            .difference
            .as_ref()
            .map(|one| one.amount.to_string())
    };
    assert_eq!((amount("BTC"), amount("USDT")), (None, Some("-3".to_owned())));
    assert_eq!(openings(&client).await, []);
    drain(vec![worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_lists_the_assets_of_a_key_and_names_another_environment() {
    let live = live_rig(&["--balance", "DOGE=7"]).await;
    let worker = live.rig.worker().await;
    let client = live.rig.caller().await;
    let args = ["check", "--role", "worker"];
    let said = text(&command(&live.rig, &live.rig.settings, &args).await);
    for part in [
        "BTC 2 (traded as BTCUSDT)",
        "USDT 1000000 (pays for BTCUSDT",
        "DOGE 7 (no instrument)",
        "live orders go to the environment local",
    ] {
        assert!(said.contains(part), "{said}");
    }
    record_environment(&client, "production").await;
    let said = text(&command(&live.rig, &live.rig.settings, &args).await);
    assert!(said.contains("belong to production"), "{said}");
    worker.drain(SOON).await;
}
