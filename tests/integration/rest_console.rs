//! What the console is made of: its page and files, the history of an order, the limits in force, and the day of single
//! accounts.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use order_router::config::api_keys::{ApiKey, Capability, KeySettings};
use order_router::config::brokers::RestFill;
use serde_json::{Value, json};

use crate::rest_fixture::{Rest, RestResponse};
use crate::rest_router::{Router, order};
use crate::rig::SOON;
use crate::support::poll;

#[tokio::test(flavor = "multi_thread")]
async fn console_page_loads_only_files_of_the_sidecar() {
    let rest = Rest::start().await;
    let page = rest.get("/").await;
    assert_is_guarded(&page, "text/html; charset=utf-8");
    assert!(!page.text.contains("://"), "the page names another host: {}", page.text);
    let attributes = page.text.split(['"']).filter(|text| text.starts_with("./console/"));
    let files: Vec<&str> = attributes.collect();
    assert_eq!(files.len(), 3, "{}", page.text);
    for file in files {
        let response = rest.get(file.trim_start_matches('.')).await;
        let media_type = match file.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_is_guarded(&response, media_type);
        assert!(response.text.len() > 100, "{file}: {response:?}");
    }
    for file in ["nothing.js", "index.html", "..%2Findex.html", "sources.sha256", "%ff"] {
        let response = rest.get(&format!("/console/{file}")).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (404, "not_found"),
            "{file}"
        );
    }
}

/// Checks that a browser runs no inline code of a response, and shows it in no frame.
#[track_caller]
fn assert_is_guarded(response: &RestResponse, media_type: &str) {
    assert_eq!((response.status, response.header("content-type")), (200, media_type));
    let policy = response.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("require-trusted-types-for 'script'"));
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    assert_eq!(response.header("referrer-policy"), "no-referrer");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_has_every_version_and_what_was_measured() {
    let router = Router::start_with(|rig| rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never).await;
    let aapl = json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "quantity": "100", "price": "180"});
    let (own, other) = (order("own", &aapl), order("other", &json!({"quantity": "2"})));
    let report = router.submit(&own).await.json();
    // Entries of the same account that are not of this order.
    router.submit(&other).await;
    router.submit(&order("third", &json!({}))).await;
    let cancelled = router
        .post("/orders/ibkr/cancel", &json!({"order_id": report["order_id"]}))
        .await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");

    let history = history(&router, "own").await;
    assert_eq!(history["is_complete"], true);
    let versions: Vec<(&Value, &Value)> = items(&history)
        .iter()
        .map(|one| (&one["version"], &one["status"]))
        .collect();
    assert_eq!(
        versions,
        [
            (&json!(1), &json!("partially_filled")),
            (&json!(2), &json!("cancelled"))
        ]
    );
    assert!(
        items(&history)
            .iter()
            .all(|one| one["settlement"].is_null() && one["order_id"] == report["order_id"])
    );
    assert_eq!(
        measurement(&history, "max_daily_notional"),
        json!({"name": "max_daily_notional", "before": 0, "order": 18000, "limit": 1_000_000_000})
    );

    let denied = self::history(&router, "other").await;
    assert_eq!(items(&denied)[0]["reason"]["code"], "order_size_exceeded");
    assert_eq!(
        measurement(&denied, "position_limit.long"),
        json!({"name": "position_limit.long", "before": 0, "order": 2, "limit": 2})
    );
    for number in ["999999", "0", "x", "own"] {
        let response = router.get(&format!("/orders/{number}/history")).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (404, "unknown_order"),
            "{number}"
        );
    }
}

/// Returns the history of the order with a client order id.
async fn history(router: &Router, client_order_id: &str) -> Value {
    let (orders, _) = router
        .list(&format!("/orders/log?client_order_id={client_order_id}"))
        .await;
    let response = router.get(&format!("/orders/{}/history", orders[0]["id"])).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

fn items(history: &Value) -> &Vec<Value> {
    history["items"].as_array().unwrap()
}

fn measurement(history: &Value, name: &str) -> Value {
    let all = history["measurements"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_of_an_account_outside_the_scope_is_unknown() {
    let key = ApiKey::generate();
    let router = Router::start_with(|rig| {
        let own = KeySettings::new(&key, "fund", "Fund 7", &Capability::ALL, &["fund-7"]);
        rig.settings.keys.0 = vec![own];
    })
    .await;
    let bearer = format!("Bearer {}", key.reveal());
    let send = |method: reqwest::Method, path: String| {
        let url = format!("http://{}{path}", router.sidecar.address());
        crate::rest_fixture::client()
            .request(method, url)
            .header("Authorization", &bearer)
    };
    let submitted = order("mine", &json!({"account_id": "fund-7"}));
    let request = send(reqwest::Method::POST, "/orders".to_owned()).header("Content-Type", "application/json");
    let submitted = RestResponse::read(request.body(submitted.to_string()).send().await.unwrap()).await;
    assert_eq!(submitted.status, 201, "{submitted:?}");
    let get = async |path: String| RestResponse::read(send(reqwest::Method::GET, path).send().await.unwrap()).await;
    let number = get("/orders/log".to_owned()).await.json()["items"][0]["id"].clone();
    assert_eq!(get(format!("/orders/{number}/history")).await.status, 200);
    for (path, code) in [
        ("/state?account_id=fund-7".to_owned(), None),
        ("/state?account_id=fund-7,fund-8".to_owned(), Some("account_mismatch")),
        ("/state?account_id=fund.7".to_owned(), Some("invalid_field")),
    ] {
        let response = get(path.clone()).await;
        match code {
            None => assert_eq!(response.status, 200, "{path}"),
            Some(code) => assert_eq!(response.code(), code, "{path}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_in_force_are_those_of_the_journal() {
    let router = Router::start().await;
    let response = router.get("/risk/limits").await;
    assert_eq!(response.status, 200, "{response:?}");
    let limits = response.json();
    assert_eq!(limits["version"], 1);
    let bitcoin = limits["limits"]["instruments"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["symbol"] == "BTCUSDT");
    assert_eq!(bitcoin.unwrap()["max_position"], "2");
    assert_eq!(limits["limits"]["risk"]["base_currency"], "USD");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_names_the_day_of_accounts_and_the_last_change() {
    let router = Router::start_with(|rig| {
        let own =
            toml::from_str("account_id = \"fund-7\"\ndaily_loss_limit = \"400\"\ndaily_notional_limit = \"9000.5\"\n");
        rig.settings.accounts.0 = vec![own.unwrap()];
    })
    .await;
    let fund = order(
        "a1",
        &json!({"account_id": "fund-7", "price": "30100", "quantity": "0.1"}),
    );
    assert_eq!(router.submit(&fund).await.status, 201);
    let state = router.get("/state").await.json();
    assert!(state["accounts"].is_null() && state["last_change"].is_null(), "{state}");
    let day = async || router.get("/state?account_id=fund-7&account_id=idle").await.json()["accounts"].clone();
    let expected = json!([
        {"account_id": "fund-7", "notional_routed": 3010, "daily_notional_limit": 9000.5, "daily_pnl": -10, "daily_loss_limit": 400},
        {"account_id": "idle", "notional_routed": 0, "daily_notional_limit": null, "daily_pnl": 0, "daily_loss_limit": 50000},
    ]);
    poll::until(SOON, "the account's day is read", async || day().await == expected).await;

    let url = format!("http://{}/state", router.sidecar.address());
    let body = r#"{"trading_state": "reduce_only", "reason": "winding down"}"#;
    let request = crate::rest_fixture::client()
        .put(url)
        .header("Content-Type", "application/json");
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    let change = router.get("/state").await.json()["last_change"].clone();
    assert_eq!(change["reason"], "winding down");
    assert!(
        change["actor"].as_str().unwrap().starts_with("rest 127.0.0.1:"),
        "{change}"
    );
}
