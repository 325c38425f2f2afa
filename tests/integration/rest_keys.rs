//! API keys over REST: authentication, capabilities, accounts and rate limits; no key is ever shown.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::time::Duration;

use async_nats::jetstream;
use order_router::bus::request::Endpoint;
use order_router::bus::subjects;
use order_router::config::Settings;
use order_router::config::api_keys::{ApiKey, Capability, KeySettings};
use order_router::domain::id::AccountId;
use order_router::domain::time::Timestamp;
use order_router::sidecar::{Sidecar, SidecarError};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::rest_fixture::{Rest, RestResponse, SOON, client};
use crate::rig::{Rig, intent};
use crate::support::poll;

const ALL: [Capability; 3] = Capability::ALL;

/// An API key and its `Authorization` header.
pub struct TestKey {
    key: ApiKey,
    bearer: String,
}

impl TestKey {
    pub fn new() -> Self {
        let key = ApiKey::generate();
        let bearer = format!("Bearer {}", key.reveal());
        Self { key, bearer }
    }

    pub fn settings(&self, id: &str, capabilities: &[Capability], accounts: &[&str]) -> KeySettings {
        KeySettings::new(&self.key, id, "Fund 7", capabilities, accounts)
    }

    pub fn header(&self) -> [(&str, &str); 1] {
        [("Authorization", &self.bearer)]
    }
}

pub async fn rest_with(keys: Vec<KeySettings>) -> Rest {
    Rest::start_with(|settings| settings.keys.0 = keys).await
}

/// The close path of the BTCUSDT position of account `default` in paper mode.
const CLOSE_PATH: &str = "/positions/0170617065720064656661756c740062696e616e63652e73706f740042544355534454/close";

/// Returns every operation that requires a key: method, path, body, and the capabilities of which it requires one.
fn operations() -> Vec<(&'static str, &'static str, String, Vec<Capability>)> {
    use Capability::{ManageState, Read, RouteOrders};
    let order = r#"{"order_id":"BN-known"}"#.to_owned();
    let reason = r#"{"reason":"r"}"#.to_owned();
    let change = r#"{"trading_state":"halted","reason":"r"}"#.to_owned();
    let by_id = "/orders/by-client-id/a1?broker=binance";
    let none = String::new;
    vec![
        ("GET", "/brokers", none(), vec![Read]),
        ("POST", "/orders", intent("a1", &[]), vec![RouteOrders]),
        ("GET", "/orders/BN-known", none(), vec![Read, RouteOrders]),
        ("GET", by_id, none(), vec![Read, RouteOrders]),
        ("POST", "/orders/binance/cancel", order, vec![RouteOrders]),
        (
            "POST",
            "/orders/binance/replace",
            r#"{"order_id":"BN-known","price":1}"#.to_owned(),
            vec![RouteOrders],
        ),
        ("POST", "/orders/binance/cancel-all", "{}".to_owned(), vec![RouteOrders]),
        (
            "POST",
            "/accounts/default/heartbeat",
            r#"{"timeout_ms":5000}"#.to_owned(),
            vec![RouteOrders],
        ),
        ("GET", "/orders/log", none(), vec![Read]),
        (
            "POST",
            "/orders/1/notes",
            r#"{"notes":"n"}"#.to_owned(),
            vec![RouteOrders],
        ),
        ("GET", "/orders/1/history", none(), vec![Read]),
        ("GET", "/executions", none(), vec![Read]),
        ("GET", "/positions", none(), vec![Read]),
        ("POST", CLOSE_PATH, "{}".to_owned(), vec![RouteOrders]),
        ("GET", "/events", none(), vec![Read]),
        ("GET", "/metrics", none(), vec![Read]),
        ("GET", "/risk/alerts", none(), vec![Read]),
        ("GET", "/state", none(), vec![Read]),
        ("PUT", "/state", change, vec![ManageState]),
        ("GET", "/mode", none(), vec![Read]),
        ("POST", "/mode", r#"{"mode":"dry_run"}"#.to_owned(), vec![ManageState]),
        ("GET", "/risk/limits", none(), vec![Read]),
        ("GET", "/risk/locks", none(), vec![Read]),
        ("POST", "/risk/locks/paper.all.operator/lift", reason, vec![ManageState]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_key_every_request_is_unauthenticated() {
    let (key, unknown) = (TestKey::new(), TestKey::new());
    let rest = rest_with(vec![key.settings("desk", &ALL, &["*"])]).await;
    let bare = key.key.reveal();
    let hash = key.settings("desk", &ALL, &["*"]).sha256.reveal().to_owned();
    let twice = [key.header()[0], key.header()[0]];
    let beside = [key.header()[0], unknown.header()[0]];
    let rows: Vec<(&str, Vec<(&str, String)>)> = vec![
        ("no key", vec![]),
        ("an unknown key", to_owned_headers(&unknown.header())),
        ("no scheme", vec![("Authorization", bare.to_owned())]),
        ("another scheme", vec![("Authorization", format!("Basic {bare}"))]),
        ("another header", vec![("X-Api-Key", bare.to_owned())]),
        ("two headers", to_owned_headers(&twice)),
        ("two keys", to_owned_headers(&beside)),
        ("its hash", vec![("Authorization", format!("Bearer {hash}"))]),
        ("cut off", vec![("Authorization", key.bearer[..70].to_owned())]),
        ("empty", vec![("Authorization", "Bearer ".to_owned())]),
    ];
    let nowhere = ("GET", "/nothing/here", String::new(), vec![]);
    let no_method = ("DELETE", "/orders", String::new(), vec![]);
    for (what, headers) in &rows {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for (method, path, body, _) in operations().into_iter().chain([nowhere.clone(), no_method.clone()]) {
            let response = rest.send(method, path, &body, &headers).await;
            assert_eq!(
                (response.status, response.code().as_str()),
                (401, "unauthenticated"),
                "{what}: {method} {path}"
            );
            assert_eq!(response.header("www-authenticate"), "Bearer", "{what}");
            assert!(!response.text.contains(&bare[4..]) && !response.text.contains(&unknown.key.reveal()[4..]));
        }
    }
    assert!(rest.actor.calls.lock().unwrap().is_empty());
    let response = rest.send("POST", "/orders", &intent("a1", &[]), &key.header()).await;
    assert_eq!(response.status, 201);
    for (method, path, status) in [
        ("GET", "/nothing/here", 404),
        ("DELETE", "/orders", 405),
        ("OPTIONS", "/orders", 204),
    ] {
        let response = rest.send(method, path, "", &key.header()).await;
        assert_eq!(response.status, status, "{method} {path}");
    }
}

fn to_owned_headers<'a>(headers: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

/// Returns how many operations of the served document require a key.
async fn count_guarded_operations(rest: &Rest) -> usize {
    let document = rest.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    let requires_key = |operation: &&serde_json::Value| operation["security"] != serde_json::json!([]);
    operations.filter(requires_key).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_requires_its_capability() {
    let all: Vec<(TestKey, Capability)> = ALL.map(|capability| (TestKey::new(), capability)).into();
    let settings = all
        .iter()
        .map(|(key, capability)| key.settings(&capability.as_str().replace('.', "-"), &[*capability], &["*"]));
    let rest = rest_with(settings.collect()).await;
    assert_eq!(operations().len(), count_guarded_operations(&rest).await);
    for (method, path, body, needs) in operations() {
        for (key, capability) in &all {
            let before = rest.actor.calls.lock().unwrap().len();
            let response = rest.send(method, path, &body, &key.header()).await;
            let row = format!("{method} {path} with {}: {response:?}", capability.as_str());
            if needs.contains(capability) {
                assert!(![401, 403, 404].contains(&response.status), "{row}");
                continue;
            }
            assert_eq!(
                (response.status, response.code().as_str()),
                (403, "not_entitled"),
                "{row}"
            );
            let detail = response.json()["detail"].as_str().unwrap().to_owned();
            assert!(needs.iter().all(|need| detail.contains(need.as_str())), "{row}");
            assert_eq!(rest.actor.calls.lock().unwrap().len(), before, "{row}");
        }
    }
    // The body of a request without the capability is not read.
    let response = rest.send("POST", "/orders", "not JSON", &all[0].0.header()).await;
    assert_eq!(response.code(), "not_entitled");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_is_limited_to_its_accounts() {
    let key = TestKey::new();
    let rest = rest_with(vec![key.settings("desk", &ALL, &["fund-7", "fund-9"])]).await;
    let own = |id: &str| intent(id, &[("account_id", "\"fund-7\"")]);
    let foreign = intent("a2", &[("account_id", "\"fund-8\"")]);
    let cancel = |account: &str| format!(r#"{{"order_id":"BN-known"{account}}}"#);
    let reason = r#"{"reason":"r"}"#;
    for (method, path, body) in [
        ("POST", "/orders", foreign.as_str()),
        // The key does not cover the default account.
        ("POST", "/orders", &intent("a2", &[])),
        ("POST", "/orders/binance/cancel", &cancel(r#","account_id":"fund-8""#)),
        // An existing and a missing order give the same response.
        ("GET", "/orders/BN-known?account_id=fund-8", ""),
        ("GET", "/orders/BN-unknown_order?account_id=fund-8", ""),
        ("GET", "/orders/XX-1?account_id=fund-8", ""),
        ("POST", "/orders/binance/cancel", r#"{"client_order_id":"known"}"#),
        ("GET", "/orders/by-client-id/known", ""),
        ("GET", "/orders/by-client-id/known?account_id=fund-8", ""),
        ("GET", "/orders/by-client-id/unknown_order?account_id=fund-8", ""),
        ("GET", "/risk/alerts?account_id=fund-8", ""),
        ("POST", "/risk/locks/paper.account.fund-8.operator/lift", reason),
    ] {
        let response = rest.send(method, path, body, &key.header()).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (403, "account_mismatch"),
            "{method} {path} {body}"
        );
        assert!(
            response.json()["detail"].as_str().unwrap().contains("account"),
            "{response:?}"
        );
    }
    assert!(rest.actor.calls.lock().unwrap().is_empty());
    // By its order id alone, an order of another account looks like one that does not exist.
    for (method, path, body) in [
        ("GET", "/orders/{id}", ""),
        ("POST", "/orders/binance/cancel", r#"{"order_id":"{id}"}"#),
    ] {
        let [foreign, missing] = ["BN-known", "BN-unknown_order"].map(|id| {
            let (path, body) = (path.replace("{id}", id), body.replace("{id}", id));
            let (rest, key) = (&rest, &key);
            async move {
                let response = rest.send(method, &path, &body, &key.header()).await;
                assert_eq!((response.status, response.code().as_str()), (404, "unknown_order"));
                response.text.replace(id, "")
            }
        });
        assert_eq!(foreign.await, missing.await, "{method} {path}");
    }
    assert!(rest.actor.calls(Endpoint::Cancel).is_empty());
    for (method, path, body, status) in [
        ("POST", "/orders", own("a1"), 201),
        (
            "POST",
            "/orders/binance/cancel",
            cancel(r#","account_id":"fund-9""#),
            200,
        ),
        ("GET", "/orders/BN-known?account_id=fund-7", String::new(), 200),
        ("GET", "/orders/BN-unknown_order?account_id=fund-7", String::new(), 404),
        (
            "POST",
            "/risk/locks/paper.account.fund-7.operator/lift",
            reason.to_owned(),
            200,
        ),
        ("POST", "/risk/locks/paper.all.operator/lift", reason.to_owned(), 200),
    ] {
        let response = rest.send(method, path, &body, &key.header()).await;
        assert_eq!(response.status, status, "{method} {path} {response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn change_records_the_key_that_made_it() {
    let key = TestKey::new();
    let rest = rest_with(vec![key.settings("ops-1", &ALL, &["*"])]).await;
    let body = r#"{"trading_state":"halted","reason":"r"}"#;
    assert_eq!(rest.send("PUT", "/state", body, &key.header()).await.status, 200);
    let lift = "/risk/locks/paper.all.operator/lift";
    assert_eq!(
        rest.send("POST", lift, r#"{"reason":"r"}"#, &key.header()).await.status,
        200
    );
    for endpoint in [Endpoint::StateSet, Endpoint::LocksLift] {
        let calls = rest.actor.calls(endpoint);
        let sent: Value = serde_json::from_slice(&calls[0].body).unwrap();
        assert_eq!((calls.len(), &sent["actor"]), (1, &json!("rest key ops-1 (Fund 7)")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_above_its_rate_is_limited_with_retry_after() {
    let (key, other) = (TestKey::new(), TestKey::new());
    let limited = KeySettings {
        requests_per_second: 1,
        burst: Some(3),
        ..key.settings("busy", &[Capability::Read], &["*"])
    };
    let rest = rest_with(vec![limited, other.settings("calm", &[Capability::Read], &["*"])]).await;
    let started = Instant::now();
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let response = rest.send("GET", "/state", "", &key.header()).await;
        if response.status == 429 {
            assert_eq!(response.code(), "rate_limited");
        }
        statuses.push(response.status);
    }
    // If the machine was fast enough to show it: a burst of three, then one per second.
    if started.elapsed() < Duration::from_secs(1) {
        assert_eq!(statuses, [200, 200, 200, 429, 429]);
    }
    assert!(
        statuses.contains(&429) || started.elapsed() > Duration::from_secs(1),
        "{statuses:?}"
    );
    // Another key has its own rate, health checks have none, and a request without a key uses up no rate.
    assert_eq!(rest.send("GET", "/state", "", &other.header()).await.status, 200);
    assert_eq!(rest.send("GET", "/health/live", "", &key.header()).await.status, 200);
    assert_eq!(rest.send("GET", "/state", "", &[]).await.status, 401);
    let again = async || rest.send("GET", "/state", "", &key.header()).await.status == 200;
    poll::until(SOON, "the key is accepted again", again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_requires_no_key_and_its_details_do() {
    let key = TestKey::new();
    let mut rest = rest_with(vec![key.settings("ops", &[Capability::Read], &["*"])]).await;
    assert_eq!(rest.get("/health/live").await.status, 200);
    assert_eq!(rest.get("/health").await.status, 200);
    rest.stop_worker().await;
    let response = rest.get("/health").await;
    assert_eq!((response.status, response.code().as_str()), (503, "no_worker"));
    let worker = &response.json()["checks"]["worker"];
    assert_eq!(
        (&worker["status"], &worker["detail"]),
        (&json!("failing"), &Value::Null)
    );
    let response = rest.send("GET", "/health", "", &key.header()).await;
    assert!(
        response.json()["checks"]["worker"]["detail"].is_string(),
        "{response:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn non_loopback_address_requires_keys() {
    let key = TestKey::new();
    let rest = Rest::start_with(|settings| {
        settings.http.addr = "0.0.0.0:0".parse().unwrap();
        settings.keys.0 = vec![key.settings("desk", &[Capability::Read], &["*"])];
    })
    .await;
    let url = format!("http://127.0.0.1:{}/state", rest.address().port());
    let response = RestResponse::read(client().get(&url).send().await.unwrap()).await;
    assert_eq!(response.status, 401);
    let response = client().get(&url).header("Authorization", &key.bearer).send().await;
    assert_eq!(response.unwrap().status(), 200);
    let settings = Settings {
        keys: Settings::default().keys,
        ..rest.settings.clone()
    };
    let refused = Sidecar::start(&settings).await;
    assert!(matches!(refused, Err(SidecarError::NotLoopback(_))), "{refused:?}");
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("order-router key new"), "{error}");
    // With keys, a page is treated like any other client.
    let page = [key.header()[0], ("Origin", "https://example.com")];
    let request = client()
        .get(&url)
        .header(page[0].0, page[0].1)
        .header(page[1].0, page[1].1);
    let response = RestResponse::read(request.send().await.unwrap()).await;
    assert_eq!(
        (response.status, response.header("access-control-allow-origin")),
        (200, "")
    );
    assert!(!format!("{:?} {:?}", rest.settings, rest.sidecar).contains(&key.key.reveal()[4..]));
    let hash = rest.settings.keys.0[0].sha256.reveal();
    assert!(!format!("{:?} {:?}", rest.settings, rest.sidecar).contains(hash));
}

fn alert(id: &str, account: Option<&str>) -> Value {
    json!({"alert_id": "0195561f-2a00-7c3e-9d1b-2f4a6c8e0d12", "rule_id": "max_notional", "level": "alert", "message": "m",
        "metadata": {}, "account_id": account, "symbol": null, "client_order_id": id, "order_id": null,
        "timestamp": "2026-03-02T09:00:00.000000Z"})
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_the_accounts_of_the_key_and_entries_without_an_account() {
    let (own, all) = (TestKey::new(), TestKey::new());
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    rig.settings.keys.0 = vec![
        own.settings("own", &[Capability::Read], &["fund-7"]),
        all.settings("all", &[Capability::Read], &["*"]),
    ];
    let worker = rig.worker().await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let stream = jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap());
    for (id, account) in [("1", Some("fund-7")), ("2", Some("fund-8")), ("3", None)] {
        let account_id = account.map(|name| AccountId::new(name).unwrap());
        let subject = subjects::alert("alert", account_id.as_ref());
        let body = alert(id, account).to_string().into();
        stream.publish(subject, body).await.unwrap().await.unwrap();
    }
    let caller = rig.caller().await.caller;
    for scope in [
        r#"{"kind":"account","account_id":"fund-7"}"#,
        r#"{"kind":"account","account_id":"fund-8"}"#,
        r#"{"kind":"broker","broker":"ibkr"}"#,
    ] {
        let body = format!(r#"{{"scope":{scope},"actor":"a","reason":"r"}}"#);
        let deadline = Timestamp::now().saturating_add(SOON);
        caller
            .request(subjects::LOCKS_SET, body.into(), deadline)
            .await
            .unwrap();
    }
    let get = async |path: &str, key: &TestKey| {
        let url = format!("http://{}{path}", sidecar.address());
        let response = client().get(url).header("Authorization", &key.bearer).send().await;
        RestResponse::read(response.unwrap()).await
    };
    let alerts = async |key: &TestKey| {
        let response = get("/risk/alerts", key).await;
        let list = if response.status == 200 {
            response.json()
        } else {
            json!([])
        };
        let ids = list
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| alert["client_order_id"].clone());
        ids.collect::<Vec<_>>()
    };
    // A lock also publishes an alert: the alerts of the test are the ones with a client order id.
    let of_this_test = |mut ids: Vec<Value>| {
        ids.retain(Value::is_string);
        ids
    };
    poll::until(SOON, "every alert is listed", async || {
        of_this_test(alerts(&all).await) == ["3", "2", "1"]
    })
    .await;
    assert_eq!(of_this_test(alerts(&own).await), ["3", "1"]);
    assert_eq!(get("/risk/alerts?account_id=fund-8", &own).await.status, 403);
    let locks = async |key: &TestKey| {
        let response = get("/risk/locks", key).await.json();
        let items = response["items"].as_array().unwrap();
        let mut ids: Vec<String> = items
            .iter()
            .map(|lock| lock["latch_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        (ids, response["total"].clone())
    };
    let fund = |n: u8| format!("paper.account.fund-{n}.operator");
    let broker = "paper.broker.ibkr.operator".to_owned();
    assert_eq!(locks(&all).await, (vec![fund(7), fund(8), broker.clone()], json!(3)));
    assert_eq!(locks(&own).await, (vec![fund(7), broker], json!(2)));
    sidecar.drain(SOON).await;
    worker.drain(SOON).await;
}
