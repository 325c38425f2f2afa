//! Replaces at the local exchange: whatever the venue or the worker does, both come to the same terms, and nothing is sent twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::bus::router_client::RequestError;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::replace::ReplaceState;
use order_router::fault::{Fault, FaultCode};
use order_router::wire::report::ExecutionReport;
use serde_json::{Value, json};

use crate::live_binance::LiveRig;
use crate::rig::{Client, SOON, intent};
use crate::support::poll;
use crate::venue_fixture::KEY;

pub const SUBJECT: &str = "orders.replace.binance.default";
pub const VENUE_ARGS: &[&str] = &["--market-maker", "--orders-per-10s", "100000"];

pub async fn replace(client: &Client, body: &Value) -> Result<ExecutionReport, Fault> {
    match client.call(SUBJECT, &body.to_string()).await {
        Ok(body) => Ok(ExecutionReport::decode(&body).unwrap()),
        Err(RequestError::Fault(fault)) => Err(fault),
        Err(error) => panic!("{error}"),
    }
}

/// Places an order far below the market.
pub async fn rest(client: &Client, id: &str, quantity: &str) -> ExecutionReport {
    let body = intent(id, &[("quantity", quantity), ("price", "28000")]);
    let report = client.report(&body).await;
    assert!(!report.status.is_terminal(), "{report:?}");
    report
}

/// Returns the open orders of the venue that belong to an order of the router: client order id, price and quantity.
pub async fn open_legs(live: &LiveRig, order_id: &str) -> Vec<(String, String, String)> {
    let open = live
        .venue
        .signed(reqwest::Method::GET, "/api/v3/openOrders", &[("symbol", "BTCUSDT")])
        .await
        .ok();
    let open = open.as_array().unwrap().iter();
    let own = open.filter(|one| one["clientOrderId"].as_str().unwrap().starts_with(order_id));
    let plain = |value: &Value| {
        value
            .as_str()
            .unwrap()
            .parse::<rust_decimal::Decimal>()
            .unwrap()
            .normalize()
            .to_string()
    };
    own.map(|one| {
        let id = one["clientOrderId"].as_str().unwrap()[order_id.len()..].to_owned();
        (id, plain(&one["price"]), plain(&one["origQty"]))
    })
    .collect()
}

/// Waits until the outcome of a replace is settled.
pub async fn settled(client: &Client, body: &Value) -> ExecutionReport {
    poll::eventually(SOON, format!("{body} is settled"), async || {
        let report = replace(client, body).await.ok()?;
        let state = report.replace.as_ref()?.state;
        (!state.is_open()).then_some(report)
    })
    .await
}

pub fn state(report: &ExecutionReport) -> (ReplaceState, u8) {
    let replace = report.replace.as_ref().unwrap();
    (replace.state, replace.leg)
}

#[tokio::test(flavor = "multi_thread")]
async fn new_terms_are_those_of_the_venue() {
    let live = LiveRig::start(VENUE_ARGS).await;
    let (worker, client) = live.worker().await;
    let order = rest(&client, "a", "0.01").await;
    let body = json!({"client_order_id": "a", "price": "28100", "quantity": "0.02", "replace_id": "r1"});
    let report = replace(&client, &body).await.unwrap();
    assert_eq!(
        (state(&report), report.status),
        ((ReplaceState::Done, 2), OrderStatus::Accepted)
    );
    let expected = ("2".to_owned(), "28100".to_owned(), "0.02".to_owned());
    assert_eq!(open_legs(&live, &order.order_id).await, [expected]);
    assert_ne!(report.broker_order_id, order.broker_order_id);
    // A smaller quantity at the same price keeps the venue's order.
    let reduced = replace(
        &client,
        &json!({"client_order_id": "a", "quantity": "0.015", "replace_id": "r2"}),
    )
    .await;
    let reduced = reduced.unwrap();
    assert_eq!(
        (state(&reduced), &reduced.broker_order_id),
        ((ReplaceState::Done, 3), &report.broker_order_id)
    );
    let expected = ("3".to_owned(), "28100".to_owned(), "0.015".to_owned());
    assert_eq!(open_legs(&live, &order.order_id).await, [expected]);
    live.rig.quiet_outbox().await;
    assert_eq!(replace(&client, &body).await.unwrap().replace, report.replace);
    let cancelled = client
        .order("cancel", "binance", r#"{"client_order_id":"a"}"#)
        .await
        .unwrap();
    assert_eq!(cancelled.status, OrderStatus::Cancelled);
    assert!(open_legs(&live, &order.order_id).await.is_empty());
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partly_filled_order_is_cancelled_first_and_its_total_is_exact() {
    let live = LiveRig::start(VENUE_ARGS).await;
    let (worker, client) = live.worker().await;
    live.venue
        .faults(json!([{"name": "partial_fills", "count": 1, "duration_ms": 700, "on": ["place"]}]))
        .await;
    let order = rest(&client, "a", "0.04").await;
    poll::until(SOON, "a part is filled", async || {
        let order = client
            .order("get", "binance", r#"{"client_order_id":"a"}"#)
            .await
            .unwrap();
        order.fills_total > 0
    })
    .await;
    let report = replace(
        &client,
        &json!({"client_order_id": "a", "price": "28100", "replace_id": "r"}),
    )
    .await
    .unwrap();
    assert_eq!(state(&report), (ReplaceState::Done, 2), "{report:?}");
    let legs = open_legs(&live, &order.order_id).await;
    assert_eq!(legs.len(), 1, "{legs:?}");
    assert_eq!((legs[0].0.as_str(), legs[0].1.as_str()), ("2", "28100"));
    assert_eq!(
        legs[0].2,
        report.leaves_quantity.to_string(),
        "the new leg is what is left: {report:?}"
    );
    client
        .order("cancel", "binance", r#"{"client_order_id":"a"}"#)
        .await
        .unwrap();
    live.rig.quiet_outbox().await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_and_errors_are_settled_by_asking_for_both_legs() {
    let live = LiveRig::start(VENUE_ARGS).await;
    let (worker, client) = live.worker().await;
    for (n, (fault, expected)) in [
        ("answer_lost", ReplaceState::Done),
        ("timeout_after", ReplaceState::Done),
        ("error_after", ReplaceState::Done),
        ("request_lost", ReplaceState::NotReplaced),
        ("error_before", ReplaceState::NotReplaced),
        ("timeout_before", ReplaceState::NotReplaced),
        ("cancel_fill_race", ReplaceState::NotReplaced),
    ]
    .into_iter()
    .enumerate()
    {
        for (operation, change) in [
            ("cancel_replace", json!({"price": "28100"})),
            ("amend", json!({"quantity": "0.005"})),
        ] {
            if fault == "cancel_fill_race" && operation == "amend" {
                continue;
            }
            let id = format!("{operation}-{n}");
            let order = rest(&client, &id, "0.01").await;
            // Without events the inquiries alone have to find out.
            let events = if n % 2 == 0 {
                json!({"name": "event_lost", "count": 2})
            } else {
                json!({"name": "event_late"})
            };
            live.venue
                .faults(json!([{"name": fault, "count": 1, "on": [operation]}, events]))
                .await;
            let mut body = change.clone();
            body["client_order_id"] = id.clone().into();
            body["replace_id"] = "r".into();
            let first = replace(&client, &body).await.unwrap();
            live.venue.faults(json!([])).await;
            let report = settled(&client, &body).await;
            assert_eq!(state(&report).0, expected, "{fault} {operation}: {first:?} {report:?}");
            let legs = open_legs(&live, &order.order_id).await;
            let expected_leg = match (expected, fault, operation) {
                (ReplaceState::Done, _, "amend") => vec![("2", "28000", "0.005")],
                (ReplaceState::Done, ..) => vec![("2", "28100", "0.01")],
                (_, "cancel_fill_race", _) => vec![],
                _ => vec![("", "28000", "0.01")],
            };
            let legs: Vec<(&str, &str, &str)> = legs
                .iter()
                .map(|(id, price, quantity)| (id.as_str(), price.as_str(), quantity.as_str()))
                .collect();
            assert_eq!(legs, expected_leg, "{fault} {operation}");
            let name = json!({"client_order_id": id}).to_string();
            if fault == "cancel_fill_race" {
                poll::until(SOON, "the fill is booked", async || {
                    client.order("get", "binance", &name).await.unwrap().status == OrderStatus::Filled
                })
                .await;
            } else {
                let cancelled = client.order("cancel", "binance", &name).await.unwrap();
                assert_eq!(
                    cancelled.status,
                    OrderStatus::Cancelled,
                    "{fault} {operation}: {cancelled:?}"
                );
            }
        }
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_live_replaces_at_once_one_wins() {
    let live = LiveRig::start(VENUE_ARGS).await;
    let (worker, client) = live.worker().await;
    rest(&client, "a", "0.01").await;
    live.venue
        .faults(json!([{"name": "answer_delayed", "duration_ms": 500, "on": ["cancel_replace"]}]))
        .await;
    let attempts = (0..4).map(|n| {
        let body = json!({"client_order_id": "a", "price": 28_100 + n, "replace_id": format!("r{n}")});
        let client = &client;
        async move { replace(client, &body).await }
    });
    let outcomes = futures_util::future::join_all(attempts).await;
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        1,
        "{outcomes:?}"
    );
    let losers = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(
        losers.clone().all(|fault| fault.code == FaultCode::ReplaceInFlight),
        "{:?}",
        losers.collect::<Vec<_>>()
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_whose_new_terms_the_venue_refuses_after_the_cancel_has_ended() {
    let live = LiveRig::start(VENUE_ARGS).await;
    let (worker, client) = live.worker().await;
    let order = rest(&client, "a", "0.01").await;
    // The account keeps too little for the new terms.
    let balances = live
        .venue
        .signed(reqwest::Method::GET, "/api/v3/account", &[])
        .await
        .ok();
    let usdt = balances["balances"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["asset"] == "USDT")
        .unwrap();
    let free: rust_decimal::Decimal = usdt["free"].as_str().unwrap().parse().unwrap();
    let withdrawn = json!({"account": KEY, "asset": "USDT", "amount": (-free).to_string()});
    let answer = live.venue.control("/control/transfers", withdrawn).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = json!({"client_order_id": "a", "quantity": "0.5", "replace_id": "r"});
    let report = replace(&client, &body).await.unwrap();
    assert_eq!(state(&report), (ReplaceState::CancelledNotPlaced, 2), "{report:?}");
    assert_eq!(
        (report.status, report.quantity),
        (OrderStatus::Cancelled, order.quantity)
    );
    let reason = report.reason.as_ref().unwrap();
    assert_eq!(reason.code.as_str(), "cancelled_not_placed", "{reason:?}");
    assert!(open_legs(&live, &order.order_id).await.is_empty());
    live.rig.quiet_outbox().await;
    assert_eq!(settled(&client, &body).await.replace, report.replace);
    worker.drain(SOON).await;
}
