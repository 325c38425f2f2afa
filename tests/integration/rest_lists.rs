//! Lists over REST as clients read them: page after page under load, in either direction, with times as Python writes them,
//! and with numbers as strings.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use order_router::config::brokers::RestFill;
use serde_json::{Value, json};

use crate::rest_fixture::{RestResponse, client};
use crate::rest_router::{Router, get, order, texts};
use crate::rig::SOON;
use crate::support::poll;

/// How many orders a list has before the first page is read.
const ORDERS_BEFORE: usize = 30;
/// How many orders arrive while the pages of a list are read.
const ORDERS_MEANWHILE: usize = 20;

/// Returns the id of every item.
fn ids(items: &[Value]) -> Vec<u64> {
    items.iter().map(|item| item["id"].as_u64().unwrap()).collect()
}

async fn submit_small(router: &Router, id: &str) {
    let response = router.submit(&order(id, &json!({"quantity": "0.00001"}))).await;
    assert_eq!(response.status, 201, "{response:?}");
}

/// Reads page after page by cursor, at least one item arriving between two of them while the load runs. Returns the ids as
/// listed: those of the last page when no item follows, and with `sort=asc` when the load has ended, too.
async fn read_by_cursor(router: &Router, path: &str, is_finished: impl Fn() -> bool) -> Vec<u64> {
    let (mut listed, mut after) = (Vec::new(), String::new());
    let is_ascending = path.contains("sort=asc");
    loop {
        let was_finished = is_finished();
        let response = router.get(&format!("{path}{after}")).await;
        let (items, total) = Router::page(&response);
        let metadata = &response.json()["metadata"];
        if is_ascending {
            assert_eq!(metadata["offset"], listed.len(), "{path}");
        } else {
            // The items before the page, those that arrived meanwhile included.
            assert!(metadata["offset"].as_u64().unwrap() + items.len() as u64 <= total);
        }
        listed.extend(ids(&items));
        let last = listed.last().unwrap().to_string();
        match metadata["next"].as_str() {
            Some(next) => assert_eq!(next, last),
            None if was_finished || !is_ascending => return listed,
            None => {}
        }
        after = format!("&after={last}");
        poll::until(SOON, "another item arrives", async || {
            is_finished() || router.list(path).await.1 > total
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_by_cursor_neither_repeat_nor_miss_while_orders_arrive() {
    let router = Arc::new(Router::start().await);
    for number in 0..ORDERS_BEFORE {
        submit_small(&router, &format!("before-{number}")).await;
    }
    for (round, (list, query)) in [
        ("/orders/log", "sort=desc&limit=4"),
        ("/orders/log", "sort=asc&limit=7&symbol=BTCUSDT"),
        ("/executions", "limit=4"),
        ("/executions", "sort=asc&limit=7&symbol=BTCUSDT"),
    ]
    .into_iter()
    .enumerate()
    {
        let is_finished = Arc::new(AtomicBool::new(false));
        let load = {
            let (router, is_finished) = (Arc::clone(&router), Arc::clone(&is_finished));
            tokio::spawn(async move {
                for number in 0..ORDERS_MEANWHILE {
                    submit_small(&router, &format!("{round}-{number}")).await;
                }
                is_finished.store(true, Ordering::SeqCst);
            })
        };
        let path = format!("{list}?{query}");
        let listed = read_by_cursor(&router, &path, || is_finished.load(Ordering::SeqCst)).await;
        load.await.unwrap();
        let (all, total) = router.list(&format!("{list}?limit=500")).await;
        let (mut all, orders) = (ids(&all), ORDERS_BEFORE + (round + 1) * ORDERS_MEANWHILE);
        assert_eq!(total, orders as u64);
        let first = listed[0];
        if query.contains("sort=asc") {
            // From the oldest to the last that had arrived when no item followed: all of them.
            all.reverse();
            assert_eq!(listed, all, "{path}");
        } else {
            // From the newest of the first page to the oldest: what arrived later is not in the way.
            let place = all.iter().position(|id| *id == first).unwrap();
            assert!(place > 0, "orders arrived after the first page");
            assert_eq!(listed, all[place..], "{path}");
        }
    }
}

/// Starts a router with a filled buy, a filled sell, a resting buy, and a denied buy.
async fn router_with_four_orders() -> Router {
    let router = Router::start_with(|rig| {
        rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    })
    .await;
    let share = json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "quantity": 10, "price": 180});
    for (id, over, status) in [
        ("bought", json!({}), 201),
        ("sold", json!({"side": "sell"}), 201),
        ("resting", share, 201),
        ("denied", json!({"quantity": "0.8"}), 400),
    ] {
        assert_eq!(router.submit(&order(id, &over)).await.status, status, "{id}");
    }
    router
}

async fn listed(router: &Router, query: &str) -> Vec<String> {
    let (items, total) = router.list(&format!("/orders/log?{query}")).await;
    assert_eq!(items.len() as u64, total, "{query}");
    texts(&items, "correlation_id")
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_sides_and_changes_are_filters() {
    let router = router_with_four_orders().await;
    for (query, expected) in [
        ("status=open", &["resting"][..]),
        ("status=open,rejected", &["denied", "resting"]),
        ("status=rejected&status=open", &["denied", "resting"]),
        ("status=filled,filled", &["sold", "bought"]),
        ("side=sell", &["sold"]),
        ("side=buy&status=filled", &["bought"]),
        ("sort=asc", &["bought", "sold", "resting", "denied"]),
        ("sort=asc&side=buy", &["bought", "resting", "denied"]),
    ] {
        assert_eq!(listed(&router, query).await, expected, "{query}");
    }
    let (executions, _) = router.list("/executions?side=sell").await;
    assert_eq!(texts(&executions, "correlation_id"), ["sold"]);
    let (executions, _) = router.list("/executions?sort=asc&status=open,filled").await;
    assert_eq!(texts(&executions, "correlation_id"), ["bought", "sold", "resting"]);

    // A note or a report moves an order behind the time of its last change, and a list names it again.
    let last_change = async |id: &str| {
        let (items, _) = router.list(&format!("/orders/log?client_order_id={id}")).await;
        let text = |field: &str| items[0][field].as_str().unwrap().to_owned();
        (text("updated_at"), items[0]["id"].as_u64().unwrap())
    };
    let (denied_at, _) = last_change("denied").await;
    assert_eq!(listed(&router, &format!("updated_after={denied_at}")).await, [""; 0]);
    let (_, bought) = last_change("bought").await;
    let noted = router
        .post(&format!("/orders/{bought}/notes"), &json!({"notes": "checked"}))
        .await;
    assert_eq!(noted.status, 200, "{noted:?}");
    assert_eq!(listed(&router, &format!("updated_after={denied_at}")).await, ["bought"]);
    let (noted_at, _) = last_change("bought").await;
    let cancelled = router
        .post("/orders/ibkr/cancel", &json!({"client_order_id": "resting"}))
        .await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(listed(&router, &format!("updated_after={noted_at}")).await, ["resting"]);
    let both = format!("updated_after={denied_at}");
    assert_eq!(listed(&router, &both).await, ["resting", "bought"]);
    let (executions, _) = router.list(&format!("/executions?{both}")).await;
    assert_eq!(texts(&executions, "correlation_id"), ["resting", "bought"]);
    // The times of changes are the same in an order log that is built from the journal.
    let data = tempfile::tempdir().unwrap();
    let rebuilt = router.another_sidecar(&data).await;
    let path = format!("/orders/log?{both}");
    poll::until(SOON, "the other sidecar lists the same", async || {
        let response = get(&rebuilt, &path).await;
        response.status == 200 && response.json()["items"] == router.get(&path).await.json()["items"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_names_its_filters_its_cursor_and_the_next() {
    let router = router_with_four_orders().await;
    let (items, _) = router.list("/orders/log").await;
    let ids = ids(&items);
    let query = "limit=2&sort=desc&status=open,filled&side=buy&updated_after=2026-01-01&after=";
    let response = router.get(&format!("/orders/log?{query}{}", ids[0])).await.json();
    let expected = json!({"limit": 2, "offset": 0, "total": 2, "sort": "desc", "after": ids[0].to_string(), "next": null,
        "account_id": null, "symbol": null, "start": null, "end": null, "tag": null, "strategy": null, "broker": null,
        "status": "accepted,partially_filled,filled,unknown", "side": "buy",
        "updated_after": "2026-01-01T00:00:00.000000Z", "client_order_id": null, "order_id": null});
    assert_eq!(response["metadata"], expected);
    let page = router.get("/orders/log?limit=3").await.json();
    assert_eq!(page["metadata"]["next"], ids[2].to_string());
    // The filter by the order's number is always named.
    let executions = router.get("/executions?order_id=1").await.json();
    assert_eq!(executions["metadata"]["order_id"], 1);
    assert_eq!(
        router.get("/executions").await.json()["metadata"]["order_id"],
        Value::Null
    );
    for (path, field) in [
        ("/orders/log?after=0", "after"),
        ("/orders/log?after=x", "after"),
        ("/orders/log?sort=up", "sort"),
        ("/orders/log?side=long", "side"),
        ("/orders/log?status=open,", "status"),
        ("/orders/log?status=opened", "status"),
        ("/orders/log?side=buy&side=buy", "side"),
        ("/orders/log?updated_after=now", "updated_after"),
    ] {
        let refused = router.get(path).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "invalid_field"),
            "{path}"
        );
        assert_eq!(refused.json()["field"], field, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_broker_is_refused_and_one_without_orders_is_not() {
    let router = Router::start().await;
    for list in ["/orders/log", "/executions"] {
        let refused = router.get(&format!("{list}?broker=binnance")).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "invalid_field"),
            "{list}"
        );
        let problem = refused.json();
        assert_eq!(problem["field"], "broker");
        assert_eq!(
            problem["detail"],
            "broker is not a broker of this router: binance, ibkr"
        );
        assert_eq!(router.list(&format!("{list}?broker=ibkr")).await.1, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_take_times_as_python_clients_write_them() {
    let router = Router::start().await;
    submit_small(&router, "one").await;
    let (orders, _) = router.list("/orders/log").await;
    let (executions, _) = router.list("/executions").await;
    for (list, at) in [
        ("/orders/log", &orders[0]["submitted_at"]),
        ("/executions", &executions[0]["executed_at"]),
    ] {
        let at = at.as_str().unwrap();
        let (naive, date) = (at.trim_end_matches('Z'), &at[..10]);
        let updated_at = orders[0]["updated_at"].as_str().unwrap();
        for (query, expected) in [
            // `datetime.isoformat()` of a naive time, and of one in UTC whose `+` was not percent-encoded.
            (format!("start={naive}&end={naive}"), 1),
            (format!("start={naive}+00:00&end={naive}+00:00"), 1),
            (format!("start={naive}%2B00:00&end={naive}%2B00:00"), 1),
            // `str(datetime)`, as `requests` and `httpx` encode it.
            (format!("start={0}&end={0}", naive.replace('T', "+")), 1),
            (format!("start={0}&end={0}", naive.replace('T', "%20")), 1),
            (format!("end={date}T00:00:00"), 0),
            // A date as the end is the whole day.
            (format!("start={date}&end={date}"), 1),
            ("end=2026-01-01".to_owned(), 0),
            ("start=0001-01-01T00:00:00&end=9999-12-31T23:59:59Z".to_owned(), 1),
            ("end=9999-12-31T23:59:59.999999".to_owned(), 1),
            ("start=9999-12-31".to_owned(), 0),
            (format!("updated_after={date}"), 1),
            (format!("updated_after={}", updated_at.trim_end_matches('Z')), 0),
        ] {
            let (_, total) = router.list(&format!("{list}?{query}")).await;
            assert_eq!(total, expected, "{list}?{query}");
        }
    }
}

/// Returns the places of a document's numbers.
fn number_places(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Number(_) => vec![at.to_owned()],
        Value::Array(items) => items.iter().flat_map(|item| number_places(item, at)).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| number_places(value, &format!("{at}.{name}")))
            .collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_strings_on_request_in_every_json_response() {
    let router = Router::start().await;
    let call = async |method: &str, path: &str, body: Option<Value>, accept: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("http://{}{path}", router.sidecar.address());
        let mut request = client().request(method, url).header("Accept", accept);
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        RestResponse::read(request.send().await.unwrap()).await
    };
    const STRINGS: &str = "application/json; numbers=string";
    let placed = call(
        "POST",
        "/orders",
        Some(order("one", &json!({"price": "30000.10"}))),
        STRINGS,
    )
    .await;
    assert_eq!(
        (placed.status, placed.header("content-type")),
        (201, STRINGS),
        "{placed:?}"
    );
    let report = placed.json();
    assert_eq!(
        [&report["quantity"], &report["price"], &report["version"]],
        [&json!("0.01"), &json!("30000.1"), &json!("1")]
    );
    let path = placed.header("location").to_owned();
    for path in [
        &path,
        "/orders/log",
        "/executions",
        "/positions",
        "/risk/alerts",
        "/risk/locks",
        "/state",
        "/brokers",
        "/health",
        "/health/live",
    ] {
        let plain = call("GET", path, None, "application/json").await;
        let strings = call("GET", path, None, STRINGS).await;
        assert_eq!(
            (strings.status, strings.header("content-type")),
            (200, STRINGS),
            "{path}"
        );
        assert_eq!(plain.header("content-type"), "application/json", "{path}");
        assert_eq!(number_places(&strings.json(), ""), [""; 0], "{path}");
        let length: usize = strings.header("content-length").parse().unwrap();
        assert_eq!(length, strings.text.len(), "{path}");
        if path == "/orders/log" {
            assert_eq!(plain.json()["items"][0]["limit_price"].to_string(), "30000.1");
            assert_eq!(strings.json()["items"][0]["limit_price"], "30000.1");
            assert_eq!(strings.json()["metadata"]["total"], "1");
        }
    }
    let order_number = router.list("/orders/log").await.0[0]["id"].to_string();
    let noted = call(
        "POST",
        &format!("/orders/{order_number}/notes"),
        Some(json!({"notes": "7"})),
        STRINGS,
    )
    .await;
    assert_eq!(
        (&noted.json()["id"], &noted.json()["notes"]),
        (&json!(order_number), &json!("7"))
    );
    let positions = router.get("/positions").await.json();
    let holding = positions["items"][0]["holdings"][0]["id"].as_str().unwrap();
    let closed = call("POST", &format!("/positions/{holding}/close"), None, STRINGS).await;
    assert_eq!(closed.json()["order"]["quantity"], "0.01", "{closed:?}");

    // Problems, whoever writes them.
    for (method, path) in [
        ("GET", "/orders/log?limit=0"),
        ("GET", "/orders/BN-unknown"),
        ("GET", "/nowhere"),
        ("DELETE", "/state"),
    ] {
        let refused = call(method, path, None, STRINGS).await;
        assert_eq!(
            refused.header("content-type"),
            "application/problem+json; numbers=string"
        );
        assert_eq!(refused.json()["status"], refused.status.to_string(), "{method} {path}");
    }
    // The OpenAPI document and texts are as they are.
    let document = call("GET", "/openapi.json", None, STRINGS).await;
    assert_eq!(document.header("content-type"), "application/json");
    assert!(!number_places(&document.json(), "").is_empty());
    let metrics = call("GET", "/metrics", None, STRINGS).await;
    assert!(metrics.text.contains("order_router"), "{metrics:?}");
}
