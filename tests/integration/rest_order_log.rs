//! `GET /orders/log`, `GET /executions` and `POST /orders/{id}/notes`: journaled orders and executions with exact totals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::config::brokers::RestFill;
use serde_json::{Value, json};

use crate::rest_router::{Router, get, order, texts};
use crate::rig::SOON;
use crate::support::poll;

/// Starts a router with six orders that differ in every filtered field.
async fn router_with_six_orders() -> Router {
    let router = Router::start_with(|rig| {
        rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    })
    .await;
    let apple = json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "aapl", "quantity": 10, "price": 180,
        "tags": ["Momentum", "strategy:Mean"]});
    for (id, over, status) in [
        ("one", json!({"tags": ["strategy:mean", "desk-1"]}), 201),
        ("two", json!({"account_id": "fund", "tags": ["MOMENTUM"]}), 201),
        ("three", apple, 201),
        ("four", json!({"quantity": "0.8", "tags": ["Mean"]}), 400),
        ("five", json!({"symbol": "ETH/USDT", "price": "2000"}), 201),
        (
            "six",
            json!({"account_id": "fund", "side": "sell", "order_type": "market", "price": null}),
            201,
        ),
    ] {
        assert_eq!(router.submit(&order(id, &over)).await.status, status, "{id}");
    }
    router
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_matches_alone_and_in_pairs() {
    let router = router_with_six_orders().await;
    let (all, total) = router.list("/orders/log").await;
    assert_eq!(total, 6);
    assert_eq!(
        texts(&all, "correlation_id"),
        ["six", "five", "four", "three", "two", "one"]
    );
    let at = |index: usize| all[index]["submitted_at"].as_str().unwrap().to_owned();
    let filters: Vec<(String, Vec<&str>)> = [
        ("account_id=fund", vec!["six", "two"]),
        ("symbol=btc-usdt", vec!["six", "four", "two", "one"]),
        ("broker=ibkr", vec!["three"]),
        ("status=filled", vec!["six", "five", "two", "one"]),
        ("status=rejected", vec!["four"]),
        ("tag=MOMENTUM", vec!["three", "two"]),
        ("tag=mean", vec!["four"]),
        ("strategy=MEAN", vec!["four", "three", "one"]),
        ("client_order_id=five", vec!["five"]),
        ("account_id=unknown", vec![]),
        ("tag=nothing", vec![]),
    ]
    .into_iter()
    .map(|(query, ids)| (query.to_owned(), ids))
    .chain([
        (format!("start={}", at(2)), vec!["six", "five", "four"]),
        (format!("end={}", at(3)), vec!["three", "two", "one"]),
        (
            format!("start={}&end={}", at(4), at(1)),
            vec!["five", "four", "three", "two"],
        ),
    ])
    .collect();
    let name = |query: &str| query.split('=').next().unwrap().to_owned();
    for (one, by_one) in &filters {
        for (other, by_other) in &filters {
            let is_same = one == other;
            if !is_same && (name(one) == name(other) || one.contains("&end") || other.contains("&end")) {
                continue;
            }
            let query = if is_same { one.clone() } else { format!("{one}&{other}") };
            let expected: Vec<&str> = by_one.iter().filter(|id| by_other.contains(id)).copied().collect();
            let (items, total) = router.list(&format!("/orders/log?{query}")).await;
            assert_eq!(texts(&items, "correlation_id"), expected, "{query}");
            assert_eq!(total, expected.len() as u64, "{query}");
            let (items, total) = router.list(&format!("/executions?{query}")).await;
            let executed: Vec<&str> = expected.into_iter().filter(|id| *id != "four").collect();
            // An execution has its own time, later than the submission of its order.
            if !query.contains("start=") && !query.contains("end=") {
                assert_eq!(texts(&items, "correlation_id"), executed, "{query}");
                assert_eq!(total, executed.len() as u64, "{query}");
            }
        }
    }
    let pages = [
        ("limit=2", vec!["six", "five"]),
        ("limit=2&offset=3", vec!["three", "two"]),
        ("offset=6", vec![]),
    ];
    for (window, expected) in pages {
        let response = router.get(&format!("/orders/log?{window}")).await;
        let (items, total) = Router::page(&response);
        assert_eq!(
            (texts(&items, "correlation_id"), total),
            (expected.into_iter().map(str::to_owned).collect(), 6)
        );
    }
    let response = router
        .get("/orders/log?limit=7&offset=1&symbol=btc/usdt&tag=X")
        .await
        .json();
    let expected = json!({"limit": 7, "offset": 1, "total": 0, "account_id": null, "symbol": "BTCUSDT", "start": null,
        "end": null, "tag": "x", "strategy": null, "broker": null, "status": null, "client_order_id": null,
        "sort": "desc", "after": null, "next": null, "side": null, "updated_after": null, "order_id": null});
    assert_eq!(response["metadata"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_contain_the_whole_order() {
    let router = router_with_six_orders().await;
    let (items, _) = router.list("/orders/log?client_order_id=three").await;
    let record = &items[0];
    let report = router
        .get(&format!("/orders/{}", record["external_order_id"].as_str().unwrap()))
        .await
        .json();
    for (field, expected) in [
        ("correlation_id", json!("three")),
        ("account_id", json!("default")),
        ("broker", json!("ibkr")),
        ("venue", json!("ibkr.paper")),
        ("symbol", json!("AAPL")),
        ("side", json!("buy")),
        ("order_type", json!("limit")),
        ("quantity", json!(10)),
        ("filled_quantity", json!(9.5)),
        ("limit_price", json!(180)),
        ("stop_price", Value::Null),
        ("status", json!("partially_filled")),
        ("time_in_force", json!("GTC")),
        ("submitted_at", report["submitted_at"].clone()),
        ("updated_at", report["updated_at"].clone()),
        ("expires_at", Value::Null),
        ("notes", Value::Null),
        ("tags", json!(["Momentum", "strategy:Mean"])),
        ("mode", json!("paper")),
        ("executions_total", json!(1)),
    ] {
        assert_eq!(record[field], expected, "{field} of {record}");
    }
    let execution = &record["executions"][0];
    let (id, fill) = (record["id"].as_u64().unwrap(), &report["fills"][0]);
    assert_eq!(execution["id"].as_u64().unwrap(), id * 4_096);
    assert_eq!(execution["order_id"].as_u64().unwrap(), id);
    for (field, expected) in [
        ("external_execution_id", fill["exec_id"].clone()),
        ("correlation_id", json!("three")),
        ("quantity", json!(9.5)),
        ("price", json!(180)),
        ("fees", json!(0)),
        ("liquidity", Value::Null),
        ("executed_at", fill["timestamp"].clone()),
        ("tags", json!(["Momentum", "strategy:Mean"])),
    ] {
        assert_eq!(execution[field], expected, "{field} of {execution}");
    }
    let (items, total) = router.list(&format!("/executions?order_id={id}")).await;
    assert_eq!((&items[0], total), (execution, 1));
    // A denial is logged with its reason; the next read returns a cancel.
    let (items, _) = router.list("/orders/log?client_order_id=four").await;
    assert_eq!(items[0]["status"], "rejected");
    assert_eq!(items[0]["reason"]["code"], "order_size_exceeded");
    let cancelled = router
        .post("/orders/ibkr/cancel", &json!({"client_order_id": "three"}))
        .await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let (items, _) = router.list("/orders/log?status=cancelled").await;
    assert_eq!(texts(&items, "correlation_id"), ["three"]);
    assert_eq!(items[0]["id"], id);
    assert_eq!(router.list("/orders/log?status=partially_filled").await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn read_after_a_write_returns_the_write() {
    let router = Router::start_with(|rig| {
        rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    })
    .await;
    for n in 1..=100 {
        let response = router
            .submit(&order(&format!("o{n}"), &json!({"quantity": "0.00001"})))
            .await;
        assert_eq!(response.status, 201, "{response:?}");
        let (items, total) = router.list("/orders/log?limit=1").await;
        assert_eq!((texts(&items, "correlation_id"), total), (vec![format!("o{n}")], n));
    }
    for n in 1..=50 {
        let response = router
            .submit(&order(&format!("d{n}"), &json!({"quantity": "0.8"})))
            .await;
        assert_eq!(response.status, 400, "{response:?}");
        assert_eq!(router.list("/orders/log?status=rejected").await.1, n);
    }
    let resting = json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "quantity": 10, "price": 180});
    for n in 1..=20 {
        let response = router.submit(&order(&format!("r{n}"), &resting)).await;
        assert_eq!(response.status, 201, "{response:?}");
        let response = router.post("/orders/ibkr/cancel-all", &json!({})).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(router.list("/orders/log?status=cancelled").await.1, n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_append_and_tags_merge_on_every_sidecar() {
    let router = router_with_six_orders().await;
    let data = tempfile::tempdir().unwrap();
    let other = router.another_sidecar(&data).await;
    let id = router.list("/orders/log?client_order_id=three").await.0[0]["id"]
        .as_u64()
        .unwrap();
    let path = format!("/orders/{id}/notes");
    let response = router
        .post(&path, &json!({"notes": "reviewed", "tags": ["momentum", "Checked"]}))
        .await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["tags"], json!(["Momentum", "strategy:Mean", "Checked"]));
    let response = router.post(&path, &json!({"notes": "closed"})).await.json();
    assert_eq!(
        (&response["notes"], &response["id"]),
        (&json!("reviewed\nclosed"), &json!(id))
    );
    assert!(response["updated_at"].as_str() > response["created_at"].as_str());
    assert_eq!(response["executions"][0]["notes"], "reviewed\nclosed");
    // A note repeated under the same id is recorded once.
    let once = json!({"note_id": "0195561f-2a00-7c3e-9d1b-2f4a6c8e0d12", "notes": "once"});
    for _ in 0..2 {
        assert_eq!(
            router.post(&path, &once).await.json()["notes"],
            "reviewed\nclosed\nonce"
        );
    }
    assert_eq!(router.list("/executions?tag=checked").await.1, 1);
    // Text is trimmed, and commas separate tags.
    let response = router
        .post(&path, &json!({"notes": " \tsplit\tlines\n", "tags": ["a, b", "A"]}))
        .await
        .json();
    assert_eq!(response["notes"], "reviewed\nclosed\nonce\nsplit\tlines");
    assert_eq!(
        response["tags"],
        json!(["Momentum", "strategy:Mean", "Checked", "a", "b"])
    );
    assert_eq!(router.list("/orders/log?tag=b").await.1, 1);
    let response = router.post(&path, &json!({"tags": "c , b"})).await.json();
    assert_eq!(response["tags"][5], "c");
    poll::until(SOON, "the other sidecar has the note", async || {
        let response = get(&other, "/orders/log?tag=CHECKED").await;
        response.status == 200 && response.json()["items"][0]["notes"] == "reviewed\nclosed\nonce\nsplit\tlines"
    })
    .await;
    for (path, body, code) in [
        ("/orders/999999/notes", json!({"notes": "x"}), "unknown_order"),
        ("/orders/x/notes", json!({"notes": "x"}), "unknown_order"),
        (&path, json!({}), "invalid_field"),
        (&path, json!({"notes": " \n"}), "invalid_field"),
        (&path, json!({"tags": [", "]}), "invalid_field"),
        (&path, json!({"notes": "x", "actor": "me"}), "unknown_field"),
        (&path, json!({"notes": "x", "order_id": "BN-1"}), "unknown_field"),
        (&path, json!({"notes": "x", "colour": 1}), "unknown_field"),
        (&path, json!({"tags": [""]}), "invalid_field"),
    ] {
        assert_eq!(router.post(path, &body).await.code(), code, "{path} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameter_is_named() {
    let router = Router::start().await;
    for (path, field) in [
        ("/orders/log?limit=0", "limit"),
        ("/orders/log?limit=501", "limit"),
        ("/orders/log?limit=+5", "limit"),
        ("/orders/log?offset=-1", "offset"),
        ("/orders/log?start=yesterday", "start"),
        ("/orders/log?status=ended", "status"),
        ("/orders/log?tag=", "tag"),
        ("/orders/log?symbol=-", "symbol"),
        ("/executions?order_id=x", "order_id"),
    ] {
        let response = router.get(path).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, "invalid_field"),
            "{path}"
        );
        assert_eq!(response.json()["field"], field, "{path}");
    }
    assert_eq!(router.get("/orders/log?order_id=1").await.code(), "unknown_field");
}
