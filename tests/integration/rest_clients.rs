//! The calls of clients that were written for another router, and what a key may see of them.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use order_router::bus::subjects;
use order_router::config::api_keys::{ApiKey, Capability, KeySettings};
use order_router::config::brokers::RestFill;
use order_router::wire::state::StateEvent;
use serde_json::{Value, json};

use crate::rest_fixture::{RestResponse, client};
use crate::rest_router::{Router, order};

/// Returns an order that stays open, without an id.
fn open_order(overrides: &Value) -> Value {
    let mut order = order(
        "",
        &json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "quantity": 10, "price": 180}),
    );
    order.as_object_mut().unwrap().remove("client_order_id");
    for (name, value) in overrides.as_object().unwrap() {
        order[name] = value.clone();
    }
    order
}

async fn put_state(router: &Router, body: &Value) -> RestResponse {
    let url = format!("http://{}/state", router.sidecar.address());
    let request = client().put(url).header("Content-Type", "application/json");
    RestResponse::read(request.body(body.to_string()).send().await.unwrap()).await
}

/// Returns the reason of the newest change of the state on the journal.
async fn last_reason(router: &Router) -> String {
    let journal = router.rig.caller().await.journal().await;
    let mut changes = journal
        .iter()
        .filter(|entry| subjects::parse_event_kind(&entry.subject) == Some(subjects::STATE_EVENT_KIND));
    let last: StateEvent = serde_json::from_slice(&changes.next_back().unwrap().body).unwrap();
    last.reason
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_older_clients_are_submitted_read_and_cancelled() {
    let router = Router::start_with(|rig| rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never).await;
    // The account comes with the risk values, and a market order with a price of zero.
    let risk = json!({"account_id": "acct-1", "realized_pnl": 0.0, "unrealized_pnl": 0.0});
    let market = json!({"broker": "binance", "venue": "binance.spot", "symbol": "btc/usdt", "side": "buy",
        "order_type": "market", "quantity": 0.5, "price": 0, "risk": risk});
    let response = router.submit(&market).await;
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(
        (&response.json()["account_id"], &response.json()["price"]),
        (&json!("acct-1"), &Value::Null)
    );
    // Beside an account of the order, that of the risk values has no effect.
    let response = router
        .submit(&open_order(&json!({"account_id": "acct-2", "risk": risk})))
        .await;
    assert_eq!(
        (response.status, &response.json()["account_id"]),
        (201, &json!("acct-2")),
        "{response:?}"
    );
    let order_id = response.json()["order_id"].as_str().unwrap().to_owned();

    let response = router.get(&format!("/orders/{order_id}")).await;
    assert_eq!(
        (response.status, &response.json()["status"]),
        (200, &json!("partially_filled")),
        "{response:?}"
    );
    let cancel = json!({"order_id": order_id});
    let response = router.post("/orders/binance/cancel", &cancel).await;
    assert_eq!((response.status, response.code().as_str()), (404, "unknown_order"));
    let response = router.post("/orders/ibkr/cancel", &cancel).await;
    assert_eq!(
        (
            response.status,
            &response.json()["status"],
            &response.json()["account_id"]
        ),
        (200, &json!("cancelled"), &json!("acct-2")),
        "{response:?}"
    );
    let response = router.post("/orders/ibkr/cancel", &cancel).await;
    assert_eq!((response.status, response.code().as_str()), (409, "order_closed"));
    let response = router.post("/orders/ibkr/cancel-all", &json!({"symbol": "APPL"})).await;
    assert_eq!((response.status, response.code().as_str()), (404, "unsupported_pair"));
}

#[tokio::test(flavor = "multi_thread")]
async fn state_of_older_clients_is_changed_without_a_reason_and_by_mode() {
    let router = Router::start().await;
    let response = put_state(&router, &json!({"mode": "sandbox", "daily_notional_limit": 500_000})).await;
    assert_eq!(
        (response.status, &response.json()["daily_notional_limit"]),
        (200, &json!(500_000)),
        "{response:?}"
    );
    assert_eq!(last_reason(&router).await, "not given");
    let response = put_state(&router, &json!({"mode": "paper", "reason": "checked"})).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(last_reason(&router).await, "checked");

    let modes = json!(["sandbox", "dry_run"]);
    for (word, mode) in [("dry_run", "dry_run"), ("sandbox", "paper")] {
        let expected = json!({"mode": word, "allowed_modes": modes});
        let response = router.post("/mode", &json!({"mode": word})).await;
        assert_eq!((response.status, response.json()), (200, expected.clone()));
        assert_eq!(router.get("/mode").await.json(), expected);
        assert_eq!(router.get("/state").await.json()["mode"], mode);
    }
    assert_eq!(last_reason(&router).await, "not given");
    for word in ["live", "paper", ""] {
        let response = router.post("/mode", &json!({"mode": word})).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, "invalid_field"),
            "{word}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_id_alone_reveals_no_order_of_another_account() {
    let keys = ["fund-7", "fund-8", "*"].map(|account| {
        let key = ApiKey::generate();
        let id = format!("key-{}", account.trim_start_matches('*'));
        let settings = KeySettings::new(&key, &id, "Desk", &Capability::ALL, &[account]);
        (format!("Bearer {}", key.reveal()), settings)
    });
    let bearers = keys.each_ref().map(|(bearer, _)| bearer.clone());
    let router = Router::start_with(|rig| {
        rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
        rig.settings.keys.0 = keys.map(|(_, settings)| settings).into();
    })
    .await;
    let send = async |bearer: &str, method: &str, path: &str, body: Option<Value>| {
        let url = format!("http://{}{path}", router.sidecar.address());
        let mut request = client()
            .request(method.parse().unwrap(), url)
            .header("Authorization", bearer);
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        RestResponse::read(request.send().await.unwrap()).await
    };
    let [own, other, all] = bearers.each_ref().map(String::as_str);
    let submitted = send(
        own,
        "POST",
        "/orders",
        Some(open_order(&json!({"account_id": "fund-7"}))),
    )
    .await;
    assert_eq!(submitted.status, 201, "{submitted:?}");
    let order_id = submitted.json()["order_id"].as_str().unwrap().to_owned();
    let missing = format!("IB-{}", "0".repeat(order_id.len() - 3));
    let get = |id: &str| format!("/orders/{id}");
    let cancel = |id: &str| Some(json!({"order_id": id}));

    for (foreign, unknown) in [
        (
            send(other, "GET", &get(&order_id), None).await,
            send(other, "GET", &get(&missing), None).await,
        ),
        (
            send(other, "POST", "/orders/ibkr/cancel", cancel(&order_id)).await,
            send(other, "POST", "/orders/ibkr/cancel", cancel(&missing)).await,
        ),
    ] {
        assert_eq!((foreign.status, foreign.code().as_str()), (404, "unknown_order"));
        assert_eq!(
            foreign.text.replace(&order_id, ""),
            unknown.text.replace(&missing, ""),
            "the two differ"
        );
    }
    for bearer in [own, all] {
        let found = send(bearer, "GET", &get(&order_id), None).await;
        assert_eq!(
            (found.status, &found.json()["status"]),
            (200, &json!("partially_filled")),
            "{found:?}"
        );
    }
    let cancelled = send(own, "POST", "/orders/ibkr/cancel", cancel(&order_id)).await;
    assert_eq!(
        (cancelled.status, &cancelled.json()["status"]),
        (200, &json!("cancelled")),
        "{cancelled:?}"
    );
}
