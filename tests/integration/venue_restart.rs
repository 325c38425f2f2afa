//! The venue killed at any time: nothing that was answered or published is lost.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::poll;
use crate::venue_fixture::{SOON, TestVenue, changed};

#[tokio::test]
async fn orders_trades_and_balances_survive_a_kill() {
    let mut venue = TestVenue::start(&["--key", "other:hush", "--key", "venue-key:venue-secret"]).await;
    let sell = changed(&[("side", "SELL"), ("quantity", "0.004")]);
    venue
        .signed_as("other", "hush", Method::POST, "/api/v3/order", &sell)
        .await
        .unwrap()
        .ok();
    let id = venue.place(&[("newClientOrderId", "kept")]).await.ok()["orderId"]
        .as_i64()
        .unwrap();
    let state = async |venue: &TestVenue| {
        let trades = venue
            .signed(Method::GET, "/api/v3/myTrades", &[("symbol", "BTCUSDT")])
            .await
            .ok();
        let mut account = venue.signed(Method::GET, "/api/v3/account", &[]).await.ok();
        account["updateTime"] = Value::Null;
        let balances = venue.get("/control/balances").await.ok();
        (
            venue.query(id).await.ok(),
            trades,
            account,
            venue.executions().await,
            balances,
        )
    };
    let before = state(&venue).await;
    venue.kill_and_restart().await;
    assert_eq!(state(&venue).await, before);
    let depth = venue.get("/api/v3/depth?symbol=BTCUSDT").await.ok();
    assert_eq!(depth["bids"], json!([["20000.00000000", "0.00600000"]]));
    let next = venue.place(&[]).await.ok()["orderId"].as_i64().unwrap();
    assert!(next > id, "ids go on");
    venue.cancel(id).await.ok();
    // A write that the kill has cut is not part of the state, and does not stop the start.
    venue.process.kill9();
    let log = venue.data_directory().join("venue.log");
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, [whole.as_slice(), b"0123456789abcdef {\"command\""].concat()).unwrap();
    venue.kill_and_restart().await;
    assert_eq!(venue.query(id).await.ok()["status"], "CANCELED");
    assert_eq!(venue.query(next).await.ok()["status"], "NEW");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_order_is_there_after_a_kill_under_load() {
    let limits = [
        "--orders-per-10s",
        "100000",
        "--weight-limit",
        "1000000",
        "--market-maker",
    ];
    let args = [&limits[..], &["--market-maker-interval-ms", "20"]].concat();
    let mut venue = Arc::new(TestVenue::start(&args).await);
    for _ in 0..3 {
        let answered = Arc::new(AtomicUsize::new(0));
        let mut clients = Vec::new();
        for client in 0..4 {
            let (venue, answered) = (venue.clone(), answered.clone());
            clients.push(tokio::spawn(async move {
                let mut orders = BTreeMap::new();
                for number in 0.. {
                    let id = format!("c{client}-{number}");
                    let price = ["29000", "30100"][number % 2];
                    let params = changed(&[("newClientOrderId", &id), ("price", price), ("quantity", "0.001")]);
                    match venue.try_signed(Method::POST, "/api/v3/order", &params).await {
                        Ok(answer) => {
                            // A book of 200 open orders refuses the next one.
                            if answer.status == 200 {
                                let executed = answer.body["executedQty"].clone();
                                orders.insert(answer.body["orderId"].as_i64().unwrap(), executed);
                            }
                        }
                        Err(_) => break,
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                orders
            }));
        }
        poll::until(SOON, "orders are answered", async || {
            answered.load(Ordering::Relaxed) > 60
        })
        .await;
        // The process is killed while requests are on their way; the clients end with the connection.
        std::process::Command::new("sh")
            .args(["-c", &format!("kill -9 {}", venue.process.id())])
            .status()
            .unwrap();
        let mut orders = BTreeMap::new();
        for client in clients {
            orders.extend(client.await.unwrap());
        }
        let mut owned = Arc::into_inner(venue).unwrap();
        owned.kill_and_restart().await;
        for (id, executed) in orders {
            let order = owned.query(id).await.ok();
            let decimal = |value: &Value| value.as_str().unwrap().parse::<rust_decimal::Decimal>().unwrap();
            assert!(decimal(&order["executedQty"]) >= decimal(&executed), "{order}");
        }
        owned
            .signed(Method::DELETE, "/api/v3/openOrders", &[("symbol", "BTCUSDT")])
            .await;
        check_conservation(&owned).await;
        venue = Arc::new(owned);
    }
}

/// The balances of the client follow from its executions.
async fn check_conservation(venue: &TestVenue) {
    let decimal = |value: &Value| value.as_str().unwrap().parse::<rust_decimal::Decimal>().unwrap();
    let mut base = rust_decimal::Decimal::from(100);
    for execution in venue.executions().await {
        base += decimal(&execution["qty"]) - decimal(&execution["commission"]);
        assert_eq!(execution["side"], "BUY");
    }
    let balances = venue.get("/control/balances").await.ok();
    let own = &balances["accounts"]["venue-key"]["BTC"];
    assert_eq!(decimal(&own["free"]) + decimal(&own["locked"]), base);
}
