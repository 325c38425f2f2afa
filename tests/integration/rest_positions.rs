//! `GET /positions` and `POST /positions/{id}/close`: positions in journal order, equal to the workers' sums, and closed by
//! reduce-only orders.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::time::Duration;

use order_router::bus::connection::ConnectPolicy;
use order_router::bus::request::{BusReply, BusRequest, Endpoint, RequestHandler};
use order_router::bus::request_door::RequestDoor;
use order_router::bus::subjects;
use order_router::config::api_keys::{ApiKey, Capability, KeySettings};
use order_router::config::brokers::RestFill;
use order_router::domain::decimal::Decimal;
use order_router::domain::time::Timestamp;
use order_router::fault::{Fault, FaultCode};
use order_router::sidecar::Sidecar;
use serde_json::{Value, json};

use crate::rest_fixture::{RestResponse, client};
use crate::rest_router::{Router, order};
use crate::rig::SOON;
use crate::support::poll;

/// Returns the portfolio of an account, and checks the response around it.
async fn portfolio(router: &Router, account: &str) -> Value {
    let response = router.get(&format!("/positions?account_id={account}")).await;
    assert_eq!(response.status, 200, "{response:?}");
    let body = response.json();
    assert!(Timestamp::parse(body["as_of"].as_str().unwrap()).is_ok());
    let [portfolio] = &body["items"].as_array().unwrap()[..] else {
        panic!("{body}")
    };
    assert_eq!(
        [&portfolio["id"], &portfolio["name"], &portfolio["owner"]],
        [&json!(account); 3]
    );
    portfolio.clone()
}

/// Returns the only holding of an account.
pub async fn holding(router: &Router, account: &str) -> Value {
    let portfolio = portfolio(router, account).await;
    let [holding] = &portfolio["holdings"].as_array().unwrap()[..] else {
        panic!("{portfolio}")
    };
    assert_eq!(portfolio["total_value"], holding["market_value"]);
    holding.clone()
}

fn holding_values(holding: &Value) -> Vec<String> {
    [
        "quantity",
        "average_price",
        "current_price",
        "market_value",
        "realized_pnl",
        "unrealized_pnl",
    ]
    .iter()
    .map(|name| holding[name].to_string())
    .collect()
}

pub fn number(value: &Value) -> Decimal {
    value.to_string().parse().unwrap()
}

/// Checks the BTCUSDT holding against the sums that the workers share: the profit less the market value equals the cash flow
/// less the fees.
async fn assert_equals_worker_sums(router: &Router, account: &str, holding: &Value) {
    let sums = format!("sums:paper:{account}:binance.spot:BTCUSDT");
    let lots = router.rig.sum(&sums, "position").await;
    assert_eq!(
        number(&holding["quantity"]),
        Decimal::from_parts(lots.into(), 5).unwrap()
    );
    let profit = number(&holding["realized_pnl"]).checked_add(number(&holding["unrealized_pnl"]));
    let cash = profit.unwrap().checked_sub(number(&holding["market_value"])).unwrap();
    let cash_flow = router.rig.sum(&sums, "cash_flow").await - router.rig.sum(&sums, "fees").await;
    assert_eq!(cash, Decimal::from_parts(cash_flow.into(), 6).unwrap());
}

pub async fn trade(router: &Router, id: &str, side: &str, quantity: &str, price: &str) {
    let over = json!({"side": side, "quantity": quantity, "price": price});
    assert_eq!(router.submit(&order(id, &over)).await.status, 201, "{id}");
}

pub async fn close(router: &Router, id: &str, key: Option<&str>, body: &str) -> RestResponse {
    close_at(&router.sidecar, id, key, body).await
}

async fn close_at(sidecar: &Sidecar, id: &str, key: Option<&str>, body: &str) -> RestResponse {
    let url = format!("http://{}/positions/{id}/close", sidecar.address());
    let mut request = client().post(url);
    if !body.is_empty() {
        request = request.header("Content-Type", "application/json").body(body.to_owned());
    }
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    RestResponse::read(request.send().await.unwrap()).await
}

pub fn id_of(holding: &Value) -> String {
    holding["id"].as_str().unwrap().to_owned()
}

pub async fn journal_length(router: &Router) -> usize {
    router.rig.caller().await.journal().await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_have_average_cost_and_profit_and_equal_worker_sums() {
    let router = Router::start().await;
    assert_eq!(router.get("/positions").await.json()["items"], json!([]));
    for (at, (side, quantity, price, expected)) in [
        ("buy", "0.02", "30000", ["0.02", "30000", "30000", "600", "0", "0"]),
        ("buy", "0.02", "29000", ["0.04", "29500", "30000", "1200", "0", "20"]),
        ("sell", "0.01", "31000", ["0.03", "29500", "30000", "900", "15", "15"]),
        // From long to short.
        ("sell", "0.05", "30500", ["-0.02", "30500", "30000", "-600", "45", "10"]),
        ("buy", "0.05", "30000", ["0.03", "30000", "30000", "900", "55", "0"]),
    ]
    .into_iter()
    .enumerate()
    {
        // Each read includes the previous order.
        trade(&router, &format!("t{at}"), side, quantity, price).await;
        let holding = holding(&router, "default").await;
        assert_eq!(holding_values(&holding), expected, "{at}");
        assert_equals_worker_sums(&router, "default", &holding).await;
    }
    let held = holding(&router, "default").await;
    for (name, value) in [
        ("portfolio_id", "default"),
        ("portfolio", "default"),
        ("account_id", "default"),
        ("broker", "binance"),
        ("venue", "binance.spot"),
        ("symbol", "BTCUSDT"),
        ("mode", "paper"),
        ("quote_currency", "USDT"),
    ] {
        assert_eq!(held[name], value);
    }

    // An adjustment counts as a trade at its price; a flat position is omitted, and so is an account without others.
    let adjust = json!({"account_id": "fund", "venue": "ibkr.paper", "symbol": "AAPL", "quantity": "-2", "price": "200",
        "actor": "mira", "reason": "opening"});
    let bus = router.rig.caller().await;
    bus.call(subjects::ADJUST, &adjust.to_string()).await.unwrap();
    poll::until(SOON, "the adjustment is listed", async || {
        router.get("/positions?account_id=fund").await.json()["items"] != json!([])
    })
    .await;
    assert_eq!(
        holding_values(&holding(&router, "fund").await),
        ["-2", "200", "180", "-360", "0", "40"]
    );
    trade(&router, "flat", "sell", "0.03", "30000").await;
    let all = router.get("/positions").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!(all["items"][0]["id"], "fund");
    for account in ["default", "unknown"] {
        let listed = router.get(&format!("/positions?account_id={account}")).await.json();
        assert_eq!(listed["items"], json!([]), "{account}");
    }
    assert_eq!(router.get("/positions?colour=red").await.code(), "unknown_field");
    assert_eq!(router.get("/positions?account_id=a.b").await.code(), "invalid_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_marked_at_the_newest_quote_on_every_sidecar() {
    let router = Router::start().await;
    trade(&router, "one", "buy", "0.02", "30000").await;
    let held = holding(&router, "default").await;
    let bus = router.rig.bus().await;
    let quote = format!(r#"{{"last": 31000, "timestamp": "{}"}}"#, Timestamp::now());
    // A quote published before the sidecar subscribes is lost.
    poll::until(SOON, "the position is marked at the quote", async || {
        let subject = subjects::quote("binance.spot", "BTCUSDT");
        bus.publish(subject, quote.clone().into()).await.unwrap();
        bus.round_trip().await.unwrap();
        holding_values(&holding(&router, "default").await) == ["0.02", "30000", "31000", "620", "0", "20"]
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let other = router.another_sidecar(&data).await;
    let listed = crate::rest_router::get(&other, "/positions").await.json();
    assert_eq!(listed["items"][0]["holdings"][0]["id"], held["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn position_is_closed_by_one_order_fully_or_partly() {
    let router = Router::start().await;
    trade(&router, "one", "sell", "0.02", "30000").await;
    let id = id_of(&holding(&router, "default").await);
    let response = close(&router, &id, None, "").await;
    assert_eq!(response.status, 200, "{response:?}");
    let body = response.json();
    let report = &body["order"];
    for (name, value) in [
        ("side", json!("buy")),
        ("quantity", json!(0.02)),
        ("filled_quantity", json!(0.02)),
        ("status", json!("filled")),
        ("order_type", json!("market")),
        ("time_in_force", json!("IOC")),
        ("tags", json!(["close_position", "target_quantity:0"])),
        ("mode", json!("paper")),
    ] {
        assert_eq!(report[name], value, "{name}");
    }
    assert_eq!(report["client_order_id"].as_str().unwrap().len(), 36);
    let path = format!("/orders/{}", report["order_id"].as_str().unwrap());
    assert_eq!(response.header("location"), path);
    assert_eq!(body["positions"]["items"], json!([]));
    assert_eq!(body["remaining_quantity"], json!(0));
    // The position is already flat.
    let again = close(&router, &id, None, "{}").await;
    assert_eq!(again.code(), "invalid_field");
    assert_eq!(again.json()["field"], "target_quantity");

    trade(&router, "two", "buy", "0.05", "30000").await;
    for (body, code) in [
        (r#"{"target_quantity": 0.05}"#, "invalid_field"),
        (r#"{"target_quantity": 0.06}"#, "invalid_field"),
        (r#"{"target_quantity": "-0.01"}"#, "invalid_field"),
        (r#"{"target_quantity": 0.049999}"#, "invalid_field"),
        (r#"{"target": 0}"#, "unknown_field"),
        ("[", "malformed"),
    ] {
        assert_eq!(close(&router, &id, None, body).await.code(), code, "{body}");
    }
    let part = close(&router, &id, Some("k1"), r#"{"target_quantity": "0.020001"}"#).await;
    assert_eq!(part.status, 200, "{part:?}");
    assert_eq!(part.json()["order"]["client_order_id"], "k1");
    assert_eq!(
        part.json()["order"]["quantity"],
        json!(0.02999),
        "a fraction of a lot remains"
    );
    assert_eq!(
        part.json()["positions"]["items"][0]["holdings"][0]["quantity"],
        json!(0.02001)
    );

    // The same key with the same target replays the order, whatever the position is now; with another target it is refused.
    let before = journal_length(&router).await;
    for body in [r#"{"target_quantity": 0.020001}"#, r#"{"target_quantity": "0.020001"}"#] {
        let replay = close(&router, &id, Some("k1"), body).await;
        assert_eq!((replay.status, replay.header("idempotent-replay")), (200, "true"));
        assert_eq!(replay.json()["order"], part.json()["order"]);
    }
    assert_eq!(
        close(&router, &id, Some("k1"), "").await.code(),
        "client_order_id_conflict"
    );
    assert_eq!(
        close(&router, &id, Some("two"), "").await.code(),
        "client_order_id_conflict"
    );
    assert_eq!(journal_length(&router).await, before);
    assert_equals_worker_sums(&router, "default", &holding(&router, "default").await).await;

    let live = id.replace(&hex("paper"), &hex("live"));
    let other = id.replace(&hex("BTCUSDT"), &hex("ETHUSDT"));
    for unknown in [&live, &other, "x", &id[2..]] {
        assert_eq!(close(&router, unknown, None, "").await.code(), "not_found", "{unknown}");
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_closes_under_one_key_submit_one_order() {
    let router = Router::start().await;
    trade(&router, "one", "buy", "0.05", "30000").await;
    let id = id_of(&holding(&router, "default").await);
    let body = |target: &str| format!(r#"{{"target_quantity": "{target}"}}"#);
    let (one, other) = (body("0.03"), body("0.030"));
    let (one, other) = tokio::join!(
        close(&router, &id, Some("k"), &one),
        close(&router, &id, Some("k"), &other)
    );
    for response in [&one, &other] {
        assert!([200, 202].contains(&response.status), "{response:?}");
        assert_eq!(response.json()["order"]["order_id"], one.json()["order"]["order_id"]);
    }
    assert_eq!(holding(&router, "default").await["quantity"], json!(0.03));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_orders_that_block_a_close_are_named() {
    let router = Router::start_with(|rig| {
        rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    })
    .await;
    let apple = |side: &str, quantity: &str| {
        json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "side": side, "quantity": quantity,
            "price": "180"})
    };
    let cancel = async |id: &str| {
        let cancelled = router
            .post("/orders/ibkr/cancel", &json!({"client_order_id": id}))
            .await;
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
    };
    router.submit(&order("b1", &apple("buy", "20"))).await;
    cancel("b1").await;
    // An open buy does not block a sell; an open sell does.
    router.submit(&order("b2", &apple("buy", "1"))).await;
    router.submit(&order("s1", &apple("sell", "2"))).await;
    let held = holding(&router, "default").await;
    assert_eq!(held["quantity"], json!(18.05));
    let id = id_of(&held);
    for _ in 0..2 {
        let denied = close(&router, &id, Some("k1"), "").await;
        assert_eq!(
            (denied.status, denied.code().as_str()),
            (403, "reduce_only"),
            "{denied:?}"
        );
        assert_eq!(denied.json()["metadata"]["open_orders"], "s1");
        assert_eq!(denied.json()["client_order_id"], "k1");
    }
    // A part that leaves room for the open orders can still be closed.
    let part = close(&router, &id, None, r#"{"target_quantity": 8.05}"#).await;
    assert_eq!(part.status, 200, "{part:?}");
    cancel("s1").await;
    let closed = close(&router, &id, Some("k2"), "").await;
    assert_eq!(closed.status, 200, "{closed:?}");
    // The venue fills 95 % at once; an IOC order cancels the remainder.
    assert_eq!(closed.json()["order"]["status"], "cancelled");
    assert_eq!(closed.json()["order"]["quantity"], json!(8.55));
    // The response says what rests, and the position has it.
    let rest = closed.json()["remaining_quantity"].clone();
    assert_eq!(
        number(&rest),
        number(&closed.json()["order"]["quantity"])
            .checked_sub(number(&closed.json()["order"]["filled_quantity"]))
            .unwrap()
    );
    assert!(number(&rest).is_positive(), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_lists_and_closes_only_positions_of_its_accounts() {
    let router = Router::start().await;
    for (id, account) in [("one", "default"), ("two", "fund"), ("three", "pension")] {
        let over = json!({"account_id": account});
        assert_eq!(router.submit(&order(id, &over)).await.status, 201);
    }
    let theirs = id_of(&holding(&router, "default").await);
    let own = id_of(&holding(&router, "fund").await);
    let (key, data) = (ApiKey::generate(), tempfile::tempdir().unwrap());
    let mut settings = router.rig.settings.clone();
    settings.data_dir.0 = data.path().to_owned();
    settings.keys.0 = vec![KeySettings::new(
        &key,
        "desk",
        "Fund",
        &Capability::ALL,
        &["fund", "pension"],
    )];
    let sidecar = Sidecar::start(&settings).await.unwrap();
    let call = async |method: &str, path: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client().request(method, format!("http://{}{path}", sidecar.address()));
        RestResponse::read(request.bearer_auth(key.reveal()).send().await.unwrap()).await
    };
    let response = call("GET", "/positions").await.json();
    let accounts: Vec<&Value> = response["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["id"])
        .collect();
    assert_eq!(accounts, ["fund", "pension"]);
    let refused = call("GET", "/positions?account_id=default").await;
    assert_eq!(refused.code(), "account_mismatch");
    let before = journal_length(&router).await;
    let refused = call("POST", &format!("/positions/{theirs}/close")).await;
    assert_eq!(refused.code(), "account_mismatch");
    assert_eq!(journal_length(&router).await, before);
    let other = holding(&router, "pension").await;
    let closed = call("POST", &format!("/positions/{own}/close")).await;
    assert_eq!(closed.status, 200);
    let items = closed.json()["positions"]["items"].clone();
    assert_eq!(
        items.as_array().unwrap().len(),
        1,
        "the other account of the key, and no other: {items}"
    );
    assert_eq!(items[0]["holdings"][0]["id"], other["id"]);
}

/// A worker that knows no orders and replies only to reads of orders.
#[derive(Debug)]
struct UnresponsiveWorker;

impl RequestHandler for UnresponsiveWorker {
    async fn handle(&self, call: BusRequest) -> Result<BusReply, Fault> {
        match call.endpoint {
            Endpoint::Get => Err(Fault::new(FaultCode::UnknownOrder, "requested by the test")),
            _ => std::future::pending().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_close_is_unknown_and_not_a_failure() {
    let router = Router::start_with(|rig| {
        rig.settings.http.request_timeout_ms = 1_500;
    })
    .await;
    trade(&router, "one", "buy", "0.05", "30000").await;
    let id = id_of(&holding(&router, "default").await);
    let (rig, sidecar) = router.without_worker().await;
    let unsent = close_at(&sidecar, &id, None, "").await;
    assert_eq!(unsent.code(), "no_worker");
    let (nats, doors) = (&rig.settings.nats, &rig.settings.doors);
    let service = RequestDoor::start(
        nats,
        doors,
        ConnectPolicy::RetryFor(SOON),
        "0.0.1",
        Arc::new(UnresponsiveWorker),
    );
    let service = service.await.unwrap();
    let response = close_at(&sidecar, &id, Some("k"), "").await;
    assert_eq!(response.status, 202, "{response:?}");
    let body = response.json();
    assert_eq!(
        (&body["order"]["status"], &body["order"]["version"]),
        (&json!("unknown"), &json!(0))
    );
    assert_eq!(body["order"]["client_order_id"], "k");
    let held = &body["positions"]["items"][0]["holdings"][0]["quantity"];
    assert!(held.is_null() || *held == json!(0.05), "{body}");
    assert!(
        response.header("location").starts_with("/orders/by-client-id/k?"),
        "{response:?}"
    );
    service.drain(Duration::ZERO).await;
}
