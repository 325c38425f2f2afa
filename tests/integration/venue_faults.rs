//! Every fault of the venue, struck once and observed by a client.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::poll;
use crate::venue_fixture::{SOON, TestVenue, changed};

/// Returns the ids of the open orders.
async fn open_ids(venue: &TestVenue) -> Vec<i64> {
    let open = venue
        .signed(Method::GET, "/api/v3/openOrders", &[("symbol", "BTCUSDT")])
        .await
        .ok();
    let orders = open.as_array().unwrap().iter();
    orders.map(|order| order["orderId"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn outcomes_are_hidden_before_or_after_the_execution() {
    let venue = TestVenue::start(&[]).await;
    for (fault, answer, executes) in [
        ("request_lost", None, false),
        ("answer_lost", None, true),
        ("error_before", Some((503, -1000)), false),
        ("error_after", Some((500, -1000)), true),
        ("timeout_before", Some((504, -1007)), false),
        ("timeout_after", Some((504, -1007)), true),
        ("rate_limited@place", Some((429, -1003)), false),
        ("symbols_halted@place", Some((400, -2010)), false),
    ] {
        let (name, on) = fault.split_once('@').unwrap_or((fault, "place"));
        let before = open_ids(&venue).await.len();
        venue.faults(json!([{"name": name, "count": 1, "on": [on]}])).await;
        let placed = venue.try_signed(Method::POST, "/api/v3/order", &changed(&[])).await;
        assert_eq!(placed.ok().map(|placed| placed.error()), answer, "{fault}");
        assert_eq!(open_ids(&venue).await.len(), before + usize::from(executes), "{fault}");
        assert_eq!(venue.injected(name).await, 1, "{fault}");
        assert_eq!(venue.place(&[]).await.status, 200, "{fault} strikes once");
    }
}

#[tokio::test]
async fn answers_lost_over_the_websocket_api_reset_it() {
    let venue = TestVenue::start(&[]).await;
    let mut api = venue.ws_api().await;
    venue.faults(json!([{"name": "answer_lost", "count": 1}])).await;
    let params: Value = changed(&[])
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let params = crate::venue_fixture::signed_params(params);
    assert_eq!(api.try_call("order.place", params).await, None);
    assert_eq!(open_ids(&venue).await.len(), 1, "it was executed");
}

#[tokio::test]
async fn requests_and_answers_are_delayed() {
    let venue = TestVenue::start(&[]).await;
    for fault in ["request_delayed", "answer_delayed"] {
        venue
            .faults(json!([{"name": fault, "count": 1, "duration_ms": 300}]))
            .await;
        let begin = Instant::now();
        venue.place(&[]).await.ok();
        assert!(begin.elapsed().as_millis() >= 300, "{fault}");
    }
    // A request that waits too long is outside of its window when it is judged.
    venue
        .faults(json!([{"name": "request_delayed", "count": 1, "duration_ms": 300}]))
        .await;
    assert_eq!(venue.place(&[("recvWindow", "200")]).await.error(), (400, -1021));
}

#[tokio::test]
async fn young_orders_are_hidden_for_a_while() {
    let venue = TestVenue::start(&[]).await;
    venue
        .faults(json!([{"name": "order_hidden", "duration_ms": 400}]))
        .await;
    let id = venue.place(&[]).await.ok()["orderId"].as_i64().unwrap();
    assert_eq!(venue.query(id).await.error(), (400, -2013));
    poll::until(SOON, "the order is found", async || venue.query(id).await.status == 200).await;
}

#[tokio::test]
async fn clocks_differ_and_addresses_are_banned() {
    let venue = TestVenue::start(&[]).await;
    venue
        .faults(json!([{"name": "clock_skew", "duration_ms": 30_000}]))
        .await;
    assert_eq!(venue.place(&[]).await.error(), (400, -1021));
    let time = venue.get("/api/v3/time").await.ok()["serverTime"].as_u64().unwrap();
    assert!(time > crate::venue_fixture::now_ms() + 10_000);
    venue
        .faults(json!([{"name": "banned", "count": 1, "duration_ms": 60_000}]))
        .await;
    for _ in 0..2 {
        let banned = venue.get("/api/v3/ping").await;
        assert_eq!(banned.error(), (418, -1003), "the ban lasts");
        assert!(banned.header("retry-after").is_some());
    }
    venue.control("/control/limits/reset", json!({})).await.ok();
    venue.faults(json!([{"name": "maintenance"}])).await;
    for path in ["/api/v3/ping", "/api/v3/exchangeInfo"] {
        assert_eq!(venue.get(path).await.error(), (503, -1016));
    }
    venue.faults(json!([{"name": "symbols_halted"}])).await;
    let info = venue.get("/api/v3/exchangeInfo?symbol=BTCUSDT").await.ok();
    assert_eq!(info["symbols"][0]["status"], "HALT");
    venue.faults(json!([])).await;
    venue.place(&[]).await.ok();
    let unknown = json!({"faults": [{"name": "no_such_fault"}]});
    assert_eq!(venue.control("/control/faults", unknown).await.status, 400);
}

#[tokio::test]
async fn resting_orders_are_filled_in_parts_and_before_their_cancel() {
    let venue = TestVenue::start(&[]).await;
    let mut stream = venue.user_stream().await;
    venue
        .faults(json!([{"name": "partial_fills", "count": 1, "duration_ms": 20}]))
        .await;
    venue.place(&[]).await.ok();
    assert_eq!(stream.execution().await["x"], "NEW");
    let mut filled = Vec::new();
    for _ in 0..4 {
        filled.push(stream.execution().await["z"].as_str().unwrap().to_owned());
    }
    assert_eq!(filled, ["0.00250000", "0.00500000", "0.00750000", "0.01000000"]);
    venue.faults(json!([{"name": "cancel_fill_race", "count": 1}])).await;
    let id = venue.place(&[]).await.ok()["orderId"].as_i64().unwrap();
    assert_eq!(venue.cancel(id).await.error(), (400, -2011));
    assert_eq!(venue.query(id).await.ok()["status"], "FILLED");
}

#[tokio::test]
async fn events_are_duplicated_reordered_late_and_lost() {
    let venue = TestVenue::start(&[]).await;
    let mut stream = venue.user_stream().await;
    let ids = async |stream: &mut crate::venue_fixture::Stream, count: usize| {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(stream.execution().await["c"].as_str().unwrap().to_owned());
        }
        ids
    };
    let place = async |id: &str| {
        venue.place(&[("newClientOrderId", id)]).await.ok();
    };
    // The events of a placement are the execution and the balances.
    venue.faults(json!([{"name": "event_duplicated", "count": 1}])).await;
    place("twice").await;
    assert_eq!(ids(&mut stream, 2).await, ["twice", "twice"]);
    venue.faults(json!([{"name": "event_reordered", "count": 1}])).await;
    place("swapped").await;
    let first = loop {
        let event = stream.event().await;
        if event["event"]["B"][0]["l"] == "400.00000000" || event["event"]["c"] == "swapped" {
            break event;
        }
    };
    assert_eq!(
        first["event"]["e"], "outboundAccountPosition",
        "the balances overtake the execution"
    );
    assert_eq!(ids(&mut stream, 1).await, ["swapped"]);
    venue
        .faults(json!([{"name": "event_late", "count": 1, "duration_ms": 3_000}]))
        .await;
    place("late").await;
    place("next").await;
    assert_eq!(ids(&mut stream, 2).await, ["next", "late"]);
    venue.faults(json!([{"name": "event_lost", "count": 1}])).await;
    place("lost").await;
    place("seen").await;
    assert_eq!(ids(&mut stream, 1).await, ["seen"]);
    venue.faults(json!([{"name": "stream_cut", "count": 1}])).await;
    place("cut").await;
    while stream.next().await.is_some() {}
    let mut stream = venue.user_stream().await;
    place("after").await;
    assert_eq!(ids(&mut stream, 1).await, ["after"], "what happened before is missed");
}

#[tokio::test]
async fn same_seed_strikes_the_same_requests() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let venue = TestVenue::start(&["--faults", "error_before=0.4, timeout_after@place=0.2", "--seed", "11"]).await;
        let mut statuses = Vec::new();
        for _ in 0..30 {
            statuses.push(venue.place(&[]).await.status);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    for status in [200, 503, 504] {
        assert!(runs[0].contains(&status), "{runs:?}");
    }
}
