//! The life of a sidecar: start, health, loss of the bus, drain; and requests to a real worker.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::time::Duration;

use order_router::config::Settings;
use order_router::sidecar::{Sidecar, SidecarError};
use order_router::wire::health::{ComponentHealth, ComponentStatus, WorkerHealth};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::rest_fixture::{Rest, RestResponse, SOON, client, read_all};
use crate::rig::{Rig, ibkr, intent};
use crate::support::poll;

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_only_loopback_is_served() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let mut settings = Settings::default();
        settings.http.addr = address.parse().unwrap();
        let refused = Sidecar::start(&settings).await;
        assert!(
            matches!(refused, Err(SidecarError::NotLoopback(_))),
            "{address}: {refused:?}"
        );
    }
    let rest = Rest::start().await;
    let mut settings = rest.settings.clone();
    settings.http.addr = rest.address().into();
    let refused = Sidecar::start(&settings).await;
    assert!(matches!(refused, Err(SidecarError::Bind { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_reports_each_unreachable_part() {
    let mut rest = Rest::start().await;
    let response = rest.get("/health").await;
    assert_eq!(
        (response.status, &response.json()["status"]),
        (200, &"ok".into()),
        "{response:?}"
    );
    let statuses = |response: &RestResponse| {
        let checks = &response.json()["checks"];
        ["bus", "worker", "redis", "journal"].map(|part| checks[part]["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(statuses(&response), ["ok", "ok", "ok", "ok"]);

    let failing = || ComponentHealth::new(ComponentStatus::Failing, "requested by the test");
    let ok = ComponentHealth::ok;
    for (health, code, expected) in [
        (
            WorkerHealth::of(failing(), ok(), ok()),
            "store_unavailable",
            ["ok", "ok", "failing", "ok"],
        ),
        (
            WorkerHealth::of(ok(), failing(), ok()),
            "bus_unavailable",
            ["ok", "ok", "ok", "failing"],
        ),
        (
            WorkerHealth::of(ok(), ok(), failing()),
            "store_unavailable",
            ["ok", "failing", "ok", "ok"],
        ),
    ] {
        *rest.actor.health.lock().unwrap() = health;
        let response = rest.get("/health").await;
        assert_eq!((response.status, response.code().as_str()), (503, code));
        assert_eq!(statuses(&response), expected);
    }

    rest.stop_worker().await;
    let response = rest.get("/health").await;
    assert_eq!((response.status, response.code().as_str()), (503, "no_worker"));
    assert_eq!(statuses(&response), ["ok", "failing", "unknown", "unknown"]);

    rest.nats.pause();
    let response = rest.get("/health").await;
    assert_eq!((response.status, response.code().as_str()), (503, "bus_unavailable"));
    rest.nats.resume();
    rest.nats.kill9();
    let response = poll::eventually(SOON, "the loss of the bus is noticed", async || {
        let response = rest.get("/health").await;
        response.text.contains("disconnected").then_some(response)
    })
    .await;
    assert_eq!((response.status, response.code().as_str()), (503, "bus_unavailable"));
    assert_eq!(statuses(&response), ["failing", "unknown", "unknown", "unknown"]);
    assert_eq!(rest.get("/health/live").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bus_loss_is_a_fault_before_publishing_and_unknown_after() {
    let mut rest = Rest::start_with(|settings| settings.http.request_timeout_ms = 1_000).await;
    // NATS is silent but still connected: the outcome is unknown.
    rest.nats.pause();
    let response = rest.submit(&intent("a1", &[])).await;
    assert_eq!(response.status, 202, "{response:?}");
    rest.nats.resume();
    rest.nats.kill9();
    let response = poll::eventually(SOON, "the loss of the bus is noticed", async || {
        let response = rest.submit(&intent("a1", &[])).await;
        (response.status != 202).then_some(response)
    })
    .await;
    assert_eq!((response.status, response.code().as_str()), (503, "bus_unavailable"));
    rest.nats.restart().await;
    poll::until(SOON, "orders are accepted again", async || {
        rest.submit(&intent("a2", &[])).await.status == 201
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_finishes_requests_in_flight_and_accepts_no_more() {
    let rest = Rest::start().await;
    let address = rest.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let http = client();
    let order = tokio::spawn(
        http.post(format!("http://{address}/orders"))
            .header("Content-Type", "application/json")
            .body(intent("wait", &[]))
            .send(),
    );
    poll::until(SOON, "the order at the worker", async || rest.actor.waiting() == 1).await;
    let draining = tokio::spawn(rest.sidecar.drain(SOON));
    poll::until(SOON, "no more connections are accepted", async || {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    assert_eq!(read_all(&mut idle).await, "");
    assert!(!draining.is_finished());
    rest.actor.gate.add_permits(1);
    let response = RestResponse::read(order.await.unwrap().unwrap()).await;
    assert_eq!(response.status, 201, "{response:?}");
    draining.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_after_its_grace_period() {
    let rest = Rest::start().await;
    let address = rest.address();
    let http = client();
    let order = tokio::spawn(
        http.post(format!("http://{address}/orders"))
            .header("Content-Type", "application/json")
            .body(intent("wait", &[]))
            .send(),
    );
    poll::until(SOON, "the order at the worker", async || rest.actor.waiting() == 1).await;
    let started = Instant::now();
    rest.sidecar.drain(Duration::from_millis(50)).await;
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(order.await.unwrap().is_err());
    rest.actor.gate.add_permits(1);
}

/// Sends a request and returns its response.
async fn send(method: &str, url: String, body: &str) -> RestResponse {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = client().request(method, url).header("Content-Type", "application/json");
    RestResponse::read(request.body(body.to_owned()).send().await.unwrap()).await
}

/// Checks the state changes of an operator over REST.
async fn check_state_changes(base: &str) {
    let url = |path: &str| format!("{base}{path}");
    let more = r#"{"daily_notional_limit":9000000,"reason":"test"}"#;
    assert_eq!(send("PUT", url("/state"), more).await.status, 200);
    let open = send("POST", url("/orders"), &ibkr("open", &[])).await;
    assert_eq!(open.status, 201, "{open:?}");
    let halted = send("PUT", url("/state"), r#"{"trading_state":"halted","reason":"test"}"#).await;
    assert_eq!(halted.status, 200, "{halted:?}");
    let state = halted.json();
    assert_eq!(
        (&state["trading_state"], &state["cancelled"], &state["remaining"]),
        (&"halted".into(), &1.into(), &serde_json::json!([]))
    );
    let refused = send("POST", url("/orders"), &intent("h1", &[])).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "trading_halted"));
    let live = send("PUT", url("/state"), r#"{"mode":"live","reason":"test"}"#).await;
    assert_eq!((live.status, live.code().as_str()), (409, "mode_unavailable"));
    let change = r#"{"trading_state":"active","daily_loss_limit":"7.5","reason":"test"}"#;
    let response = send("PUT", url("/state"), change).await;
    assert_eq!(response.status, 200, "{response:?}");
    let response = response.json();
    assert_eq!(
        (&response["trading_state"], &response["daily_loss_limit"]),
        (&"active".into(), &7.5.into())
    );
    assert!(
        response.get("cancelled").is_none() && response.get("daily_pnl").is_some(),
        "{response}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_is_listed_and_lifted_over_rest() {
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    let worker = rig.worker().await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let url = |path: &str| format!("http://{}{path}", sidecar.address());
    let client = rig.caller().await;
    let none = send("GET", url("/risk/locks"), "").await;
    assert_eq!(
        (none.status, none.json()),
        (200, serde_json::json!({"items": [], "total": 0}))
    );
    let scope = r#"{"kind":"symbol","venue":"binance.spot","symbol":"BTCUSDT"}"#;
    let lock = client.lock(scope).await.unwrap();
    let listed = send("GET", url("/risk/locks"), "").await.json();
    assert_eq!(
        (&listed["total"], &listed["items"][0]["latch_id"]),
        (&1.into(), &lock.latch_id.clone().into())
    );
    let path = url(&format!("/risk/locks/{}/lift", lock.latch_id));
    for bad in [
        "{}",
        r#"{"reason":"r","actor":"me"}"#,
        r#"{"reason":"r","latch_id":"x"}"#,
    ] {
        assert_eq!(send("POST", path.clone(), bad).await.status, 400, "{bad}");
    }
    let lifted = send("POST", path.clone(), r#"{"reason":"over"}"#).await;
    assert_eq!(
        (lifted.status, &lifted.json()["latch_id"]),
        (200, &lock.latch_id.into()),
        "{lifted:?}"
    );
    let event = client.journal().await.pop().unwrap();
    assert!(String::from_utf8_lossy(&event.body).contains(r#""event":"lifted","actor":"rest 127.0.0.1:"#));
    let again = send("POST", path, r#"{"reason":"over"}"#).await;
    assert_eq!((again.status, again.code().as_str()), (404, "not_found"));
    assert_eq!(send("GET", url("/risk/locks?limit=1"), "").await.status, 400);
    sidecar.drain(SOON).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_complete_their_lifecycle_over_rest() {
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    let worker = rig.worker().await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let base = format!("http://{}", sidecar.address());
    let url = |path: &str| format!("{base}{path}");
    assert_eq!(send("GET", url("/health"), "").await.status, 200);

    let response = send("POST", url("/orders"), &intent("r1", &[])).await;
    assert_eq!(
        (response.status, &response.json()["status"]),
        (201, &"filled".into()),
        "{response:?}"
    );
    let found = send("GET", url(response.header("location")), "").await;
    assert_eq!((found.status, &found.text), (200, &response.text));
    let found = send("GET", url("/orders/by-client-id/r1"), "").await;
    assert_eq!((found.status, &found.text), (200, &response.text));
    let again = send("POST", url("/orders"), &intent("r1", &[])).await;
    assert_eq!(
        (again.status, again.header("idempotent-replay"), &again.text),
        (200, "true", &response.text)
    );
    let other = send("POST", url("/orders"), &intent("r1", &[("quantity", "0.002")])).await;
    assert_eq!((other.status, other.code().as_str()), (409, "client_order_id_conflict"));
    let closed = send("POST", url("/orders/binance/cancel"), r#"{"client_order_id":"r1"}"#).await;
    assert_eq!((closed.status, closed.code().as_str()), (409, "order_closed"));

    let open = send("POST", url("/orders"), &ibkr("r2", &[])).await;
    assert_eq!(
        (open.status, &open.json()["status"]),
        (201, &"partially_filled".into()),
        "{open:?}"
    );
    let found = send("GET", url("/orders/by-client-id/r2"), "").await;
    assert_eq!((found.status, &found.json()["broker"]), (200, &"ibkr".into()));
    let body = format!(r#"{{"order_id":{}}}"#, open.json()["order_id"]);
    let cancelled = send("POST", url("/orders/ibkr/cancel"), &body).await;
    assert_eq!(
        (cancelled.status, &cancelled.json()["status"]),
        (200, &"cancelled".into()),
        "{cancelled:?}"
    );

    let change = r#"{"daily_notional_limit":"1000","reason":"test"}"#;
    let state = send("PUT", url("/state"), change).await;
    assert_eq!(
        (state.status, &state.json()["daily_notional_limit"]),
        (200, &1000.into()),
        "{state:?}"
    );
    let denied = send("POST", url("/orders"), &intent("r3", &[])).await;
    assert_eq!(
        (denied.status, denied.code().as_str()),
        (403, "daily_notional_exceeded")
    );

    check_state_changes(&base).await;
    rig.redis.kill9();
    let response = send("POST", url("/orders"), &intent("r4", &[])).await;
    // A connection that breaks with the request on its way leaves the outcome unknown.
    if response.status == 202 {
        assert_eq!(response.json()["reason"]["code"], "outcome_unknown", "{response:?}");
    } else {
        assert_eq!((response.status, response.code().as_str()), (503, "store_unavailable"));
    }
    poll::until(SOON, "the health reports the loss of Redis", async || {
        let response = send("GET", url("/health"), "").await;
        response.status == 503 && response.json()["checks"]["redis"]["status"] == "failing"
    })
    .await;
    sidecar.drain(SOON).await;
    worker.drain(Duration::from_secs(1)).await;
}
