//! Differences of an API key's balances at the local exchange: whom they close, what explains them, and what is none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;

use order_router::bus::subjects;
use order_router::domain::order_terms::OrderStatus;
use order_router::fault::FaultCode;
use order_router::wire::balance::BalanceChange;
use serde_json::json;

use crate::limit_breaches::lock_ids;
use crate::live_balances::{differing, drain, hidden_transfer, ledgers, live_rig, wait_for};
use crate::rig::{Client, SOON, intent};
use crate::support::poll;

/// What one fill at the exchange has, and how many there are: more than a report lists.
const FILL: &str = "0.0001";
const FILLS: u32 = 110;

fn market_buy(account: &str) -> String {
    intent(
        &uuid::Uuid::now_v7().to_string(),
        &[
            ("account_id", &format!("\"{account}\"")),
            ("order_type", "\"market\""),
            ("price", "null"),
            ("quantity", "0.01"),
        ],
    )
}

async fn wait_until_open(client: &Client, account: &str) {
    poll::until(SOON, "openings pass", async || {
        client.submit(&market_buy(account)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn difference_of_a_key_closes_the_accounts_of_that_key_alone() {
    let keys = ["--key", "venue-key:venue-secret", "--key", "other-key:other-secret"];
    let mut live = live_rig(&keys).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("other.toml");
    write(&file, "api_key = \"other-key\"\nsecret = \"other-secret\"\n").unwrap();
    set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let settings = &mut live.rig.settings.brokers.binance_live;
    let default = settings.keys["default"].clone();
    settings.keys.insert("second".to_owned(), default);
    settings.keys.insert("other".to_owned(), file.display().to_string());
    let (worker, client) = live.worker().await;
    poll::until(SOON, "both ledgers have begun", async || {
        let opened = ledgers(&client).await.into_iter();
        opened.filter(|one| one.event == BalanceChange::Opened).count() == 2
    })
    .await;
    hidden_transfer(&live, "BTC", "-0.5").await;
    let locked = wait_for(&client, BalanceChange::Locked).await;
    assert_eq!(locked.accounts, ["default", "second"]);
    let expected = ["default", "second"]
        .map(|account| format!("live.account_symbol.{account}.binance.spot.BTCUSDT.balance_difference"));
    let mut ids = lock_ids(&client).await;
    ids.sort();
    assert_eq!(ids, expected);
    for account in ["default", "second"] {
        let fault = client.fault(&market_buy(account)).await;
        assert_eq!(fault.code, FaultCode::ReduceOnly, "{fault:?}");
    }
    let other = client.report(&market_buy("other")).await;
    assert_eq!(other.status, OrderStatus::Filled);
    // One of the locks is not enough: the difference still closes the other account.
    client.lift(&expected[0]).await.unwrap();
    wait_until_open(&client, "default").await;
    live.rig.quiet().await;
    let last = ledgers(&client).await.into_iter().rfind(|one| one.accounts.len() == 2);
    assert!(last.unwrap().assets["BTC"].difference.is_some());
    client.lift(&expected[1]).await.unwrap();
    let accepted = wait_for(&client, BalanceChange::Accepted).await;
    assert_eq!(accepted.assets["BTC"].difference, None);
    drain(vec![worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adjustment_of_exactly_the_difference_clears_it() {
    let live = live_rig(&[]).await;
    let (worker, client) = live.worker().await;
    wait_for(&client, BalanceChange::Opened).await;
    hidden_transfer(&live, "BTC", "0.5").await;
    wait_for(&client, BalanceChange::Locked).await;
    let adjust = async |id: &str, quantity: &str| {
        let body = json!({"adjustment_id": id, "account_id": "default", "venue": "binance.spot", "symbol": "BTCUSDT",
            "quantity": quantity, "price": "30000", "actor": "mira", "reason": "a deposit of the fund"});
        client.call(subjects::ADJUST, &body.to_string()).await.unwrap();
    };
    // What is booked of it in parts explains it once it is whole.
    adjust("part", "0.3").await;
    adjust("rest", "0.2").await;
    let accepted = wait_for(&client, BalanceChange::Accepted).await;
    assert!(
        accepted.reason.contains("an adjustment explains 0.5 BTC"),
        "{accepted:?}"
    );
    assert_eq!(accepted.assets["BTC"].difference, None);
    // The lock remains until an operator lifts it, and nothing differs then.
    let lock = "live.symbol.binance.spot.BTCUSDT.balance_difference";
    assert_eq!(lock_ids(&client).await, [lock]);
    client.lift(lock).await.unwrap();
    wait_until_open(&client, "default").await;
    hidden_transfer(&live, "USDT", "1").await;
    let found = wait_for(&client, BalanceChange::Differs).await;
    let last = poll::eventually(SOON, "the next difference is found", async || {
        let last = ledgers(&client).await.pop()?;
        last.assets["USDT"].difference.is_some().then_some(last)
    })
    .await;
    assert_eq!(last.assets["BTC"].difference, None, "{found:?}");
    drain(vec![worker]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_fills_than_one_report_lists_are_counted_exactly() {
    let live = live_rig(&[]).await;
    let (worker, client) = live.worker().await;
    wait_for(&client, BalanceChange::Opened).await;
    let resting = intent("rest", &[("quantity", "0.02"), ("price", "28000")]);
    let placed = client.report(&resting).await;
    assert_eq!(placed.status, OrderStatus::Accepted);
    let order_id: u64 = placed.broker_order_id.unwrap().parse().unwrap();
    live.rig.quiet().await;
    drain(vec![worker]).await;
    for _ in 0..FILLS {
        let fill = json!({"orderId": order_id, "quantity": FILL});
        live.venue.control("/control/fills", fill).await.ok();
    }
    let worker = live.rig.worker().await;
    let filled = poll::eventually(SOON, "every fill is booked", async || {
        let order = json!({"client_order_id": "rest"}).to_string();
        let report = client.order("get", "binance", &order).await.ok()?;
        (report.fills_total == FILLS).then_some(report)
    })
    .await;
    // One report has booked them all, and lists the last ones.
    assert_eq!((filled.version, filled.fills.len()), (placed.version + 1, 100));
    hidden_transfer(&live, "BTC", "0.00000001").await;
    let found = wait_for(&client, BalanceChange::Differs).await;
    assert_eq!(differing(&found), [("BTC", "0.00000001".to_owned())]);
    let ledgers = ledgers(&client).await;
    let opened = ledgers.iter().filter(|one| one.event == BalanceChange::Opened);
    assert_eq!(opened.count(), 1, "{ledgers:?}");
    drain(vec![worker]).await;
}
