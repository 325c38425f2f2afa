//! Orders over REST: requests forwarded to the bus, and the HTTP responses to its replies.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::time::Duration;

use order_router::bus::request::Endpoint;
use order_router::domain::time::Timestamp;
use serde_json::Value;

use crate::rest_fixture::{Rest, RestResponse, SOON};
use crate::rig::intent;
use crate::support::poll;

#[tokio::test(flavor = "multi_thread")]
async fn submit_returns_created_replayed_or_accepted() {
    let rest = Rest::start().await;
    for (id, status, location, replay) in [
        ("a1", 201, "/orders/BN-a1", ""),
        ("again", 200, "/orders/BN-again", "true"),
        ("unknown", 202, "/orders/BN-unknown", ""),
        ("receipt", 202, "/orders/BN-receipt", ""),
    ] {
        let response = rest.submit(&intent(id, &[])).await;
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.header("location"), location);
        assert_eq!(response.header("idempotent-replay"), replay);
        assert_eq!(response.header("content-type"), "application/json");
        assert_eq!(response.json()["client_order_id"], id);
        // The location of the response leads to the order.
        let found = rest.get(location).await;
        assert_eq!(found.status, if id == "receipt" { 202 } else { 200 }, "{found:?}");
    }
    let response = rest.submit(&intent("a2", &[("account_id", "\"f-7\"")])).await;
    assert_eq!(response.header("location"), "/orders/BN-a2?account_id=f-7");
    let found = rest.get("/orders/BN-a2?account_id=f-7").await;
    assert_eq!(found.json()["account_id"], "f-7");
}

#[tokio::test(flavor = "multi_thread")]
async fn intent_is_forwarded_unchanged_to_its_broker_and_account_with_deadline_and_trace() {
    let rest = Rest::start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = format!(
        " \t{}\n",
        crate::rig::ibkr("a1", &[("account_id", "\"f-7\""), ("quantity", "\"0.30e1\"")])
    );
    let response = rest.send("POST", "/orders", &body, &[("traceparent", trace)]).await;
    assert_eq!(response.status, 201, "{response:?}");
    let soon = Timestamp::now().saturating_add(Duration::from_secs(3));
    let response = rest
        .send(
            "POST",
            "/orders",
            &intent("a2", &[]),
            &[("Deadline", &soon.to_string())],
        )
        .await;
    assert_eq!(response.status, 201, "{response:?}");
    let calls = rest.actor.calls(Endpoint::Submit);
    assert_eq!(calls[0].body, body.as_bytes());
    assert_eq!(calls[0].broker.as_deref(), Some("ibkr"));
    assert_eq!(calls[0].account.as_deref(), Some("f-7"));
    assert_eq!(calls[0].traceparent.as_deref(), Some(trace));
    let left = calls[0]
        .deadline
        .unwrap()
        .saturating_duration_since(calls[0].received_at);
    assert!(
        left > Duration::from_secs(1) && left < rest.settings.http.request_timeout(),
        "{left:?}"
    );
    assert_eq!(calls[1].deadline, Some(soon));
    assert!(calls[1].traceparent.as_deref().is_some_and(|trace| trace.len() == 55));
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_deadline_is_evaluated_by_the_worker() {
    let rest = Rest::start().await;
    let passed = [("Deadline", "2020-01-01T00:00:00Z")];
    let response = rest.send("POST", "/orders", &intent("again", &[]), &passed).await;
    assert_eq!(
        (response.status, response.header("idempotent-replay")),
        (200, "true"),
        "{response:?}"
    );
    let response = rest
        .send("POST", "/orders", &intent("a1", &[]), &[("Deadline", "soon")])
        .await;
    assert_eq!(
        (response.status, response.json()["field"].as_str()),
        (400, Some("Deadline"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_id_is_assigned_and_returned_even_with_a_fault() {
    let mut rest = Rest::start().await;
    let bare = intent("x", &[]).replace(r#""client_order_id":"x","#, "");
    let response = rest.submit(&bare).await;
    assert_eq!(response.status, 201, "{response:?}");
    let id = response.json()["client_order_id"].as_str().unwrap().to_owned();
    assert!(
        uuid::Uuid::parse_str(&id).is_ok_and(|id| id.get_version_num() == 7),
        "{id}"
    );
    let response = rest.send("POST", "/orders", &bare, &[("Idempotency-Key", "k-1")]).await;
    assert_eq!(response.json()["client_order_id"], "k-1");
    // A retry under the key with another id in the body must not become a second order.
    let sent = rest.actor.calls(Endpoint::Submit).len();
    let response = rest
        .send("POST", "/orders", &intent("k-2", &[]), &[("Idempotency-Key", "k-1")])
        .await;
    assert_eq!(
        (response.status, response.code().as_str()),
        (409, "client_order_id_conflict")
    );
    assert_eq!(rest.actor.calls(Endpoint::Submit).len(), sent);
    let response = rest
        .send("POST", "/orders", &intent("k-1", &[]), &[("Idempotency-Key", "k-1")])
        .await;
    assert_eq!(response.status, 201, "{response:?}");
    rest.stop_worker().await;
    let response = rest.submit(&bare).await;
    assert_eq!((response.status, response.code().as_str()), (503, "no_worker"));
    assert_eq!(response.json()["client_order_id"].as_str().unwrap().len(), 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_write_is_unknown_and_never_a_fault() {
    let rest = Rest::start_with(|settings| settings.http.request_timeout_ms = 400).await;
    rest.get("/state").await;
    for id in ["wait", "panic", "garbage"] {
        let response = rest.submit(&intent(id, &[])).await;
        assert_eq!(response.status, 202, "{response:?}");
        let receipt = response.json();
        assert_eq!(
            (&receipt["status"], &receipt["version"]),
            (&"unknown".into(), &0.into())
        );
        assert_eq!(receipt["reason"]["code"], "outcome_unknown");
        assert_eq!(
            (&receipt["client_order_id"], &receipt["order_id"]),
            (&id.into(), &"".into())
        );
        // The active mode, as last read from the state.
        assert_eq!(receipt["mode"], "dry_run");
        let by_client_id = format!("/orders/by-client-id/{id}?account_id=default&broker=binance");
        assert_eq!(response.header("location"), by_client_id);

        let body = format!(r#"{{"client_order_id":"{id}"}}"#);
        let response = rest.send("POST", "/orders/binance/cancel", &body, &[]).await;
        assert_eq!(
            (response.status, &response.json()["status"]),
            (202, &"unknown".into()),
            "{response:?}"
        );
        assert_eq!(response.json()["client_order_id"], id);
    }
    // An unanswered read returns a fault.
    let response = rest.get("/orders/BN-wait").await;
    assert_eq!((response.status, response.code().as_str()), (503, "no_worker"));
    rest.actor.gate.add_permits(100);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_found_by_either_id_at_its_broker() {
    let rest = Rest::start().await;
    for (path, status, broker, account) in [
        ("/orders/BN-1", 200, "binance", "default"),
        ("/orders/IB-known", 200, "ibkr", "default"),
        ("/orders/IB-1", 404, "", ""),
        ("/orders/XX-1", 404, "", ""),
        ("/orders/BN-%FF", 404, "", ""),
        ("/orders/BN-a.b", 404, "", ""),
        ("/orders/BN-1?account_id=f-7", 200, "binance", "f-7"),
        ("/orders/BN-1?account_id=f.7", 400, "", ""),
        ("/orders/BN-1?account_id=_", 400, "", ""),
        ("/orders/BN-1?account=f", 400, "", ""),
        ("/orders/BN-1?account_id=a&account_id=a", 400, "", ""),
        ("/orders/by-client-id/a%2Fb", 200, "binance", "default"),
        ("/orders/by-client-id/known", 200, "ibkr", "default"),
        ("/orders/by-client-id/known?broker=ibkr&account_id=f", 200, "ibkr", "f"),
        ("/orders/by-client-id/known?broker=binance", 404, "", ""),
        ("/orders/by-client-id/unknown_order", 404, "", ""),
        ("/orders/by-client-id/store_unavailable", 503, "", ""),
        ("/orders/by-client-id/a%20b", 404, "", ""),
        ("/orders/by-client-id/a?broker=a.b", 400, "", ""),
    ] {
        let response = rest.get(path).await;
        assert_eq!(response.status, status, "{path}: {response:?}");
        if status == 200 {
            assert_eq!(
                (&response.json()["broker"], &response.json()["account_id"]),
                (&broker.into(), &account.into())
            );
        } else {
            response.code();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_returns_200_once_the_order_has_ended() {
    let rest = Rest::start().await;
    let cancel = async |broker: &str, body: &str| {
        let path = format!("/orders/{broker}/cancel");
        rest.send("POST", &path, body, &[]).await
    };
    for (broker, body, status) in [
        ("binance", r#"{"order_id":"BN-1"}"#, 200),
        ("binance", r#"{"order_id":"BN-1","account_id":"f-7"}"#, 200),
        ("ibkr", r#"{"client_order_id":"known","account_id":"f-7"}"#, 200),
        ("binance", r#"{"order_id":"BN-open"}"#, 202),
        ("binance", r#"{"order_id":"BN-unknown"}"#, 202),
        ("binance", r#"{"order_id":"BN-receipt"}"#, 202),
        ("ibkr", r#"{"order_id":"BN-1"}"#, 404),
        ("a.b", r#"{"order_id":"BN-1"}"#, 404),
        ("binance", r#"{"order_id":"BN-1","client_order_id":"a"}"#, 400),
        ("binance", r#"{"order_id":"BN-1","order_id":"BN-2"}"#, 400),
        ("binance", r#"{"order_id":"BN-1","symbol":"BTCUSDT"}"#, 400),
        ("binance", "{}", 400),
        ("binance", "", 400),
    ] {
        let response = cancel(broker, body).await;
        assert_eq!(response.status, status, "{broker} {body}: {response:?}");
        if status >= 400 {
            response.code();
        }
    }
    let accounts: Vec<_> = rest.actor.calls(Endpoint::Cancel);
    let accounts: Vec<_> = accounts.iter().filter_map(|call| call.account.as_deref()).collect();
    assert_eq!(accounts[..3], ["default", "f-7", "f-7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_all_returns_the_worker_reply_or_unknown() {
    let rest = Rest::start_with(|settings| settings.http.request_timeout_ms = 400).await;
    let path = "/orders/binance/cancel-all";
    for (path, body, status) in [
        (path, "{}", 200),
        (path, r#"{"account_id":"f-7","symbol":"btc/usdt"}"#, 200),
        (path, r#"{"account_id":"f.7"}"#, 400),
        (path, r#"{"symbol":"BTCUSDT","side":"buy"}"#, 400),
        (path, r#"{"symbol":"A","symbol":"B"}"#, 400),
        (path, "all", 400),
        (path, r#"{"account_id":"unknown_broker"}"#, 404),
        (path, r#"{"account_id":"rate_limited"}"#, 429),
        (path, r#"{"account_id":"store_unavailable"}"#, 503),
        ("/orders/a.b/cancel-all", "{}", 404),
        ("/orders/binance/cancel-all?symbol=BTCUSDT", "{}", 400),
    ] {
        let response = rest.send("POST", path, body, &[]).await;
        assert_eq!(response.status, status, "{path} {body}: {response:?}");
        if status == 200 {
            assert_eq!(response.json()["cancelled"][0]["version"], 1);
        } else {
            response.code();
        }
    }
    let calls = rest.actor.calls(Endpoint::CancelAll);
    assert_eq!(
        (calls[0].account.as_deref(), &calls[0].body[..]),
        (Some("default"), &b"{}"[..])
    );
    assert_eq!(calls[1].account.as_deref(), Some("f-7"));
    assert_eq!(calls[1].body, r#"{"symbol":"BTCUSDT"}"#);
    assert!(calls[1].deadline.is_some() && calls[1].traceparent.is_some());
    // A request without a body also cancels all orders, for emergencies; a body that is not JSON is refused.
    let request = rest.http.post(format!("http://{}{path}", rest.address()));
    let response = RestResponse::read(request.send().await.unwrap()).await;
    assert_eq!(response.status, 200, "{response:?}");
    let response = rest.send("POST", path, "{}", &[("Content-Type", "text/plain")]).await;
    assert_eq!(response.code(), "unsupported_media_type");
    // Without a reply the cancels may have been executed.
    for account in ["wait", "panic", "garbage"] {
        let body = format!(r#"{{"account_id":"{account}"}}"#);
        let response = rest.send("POST", path, &body, &[]).await;
        assert_eq!(
            (response.status, &response.json()["status"]),
            (202, &"unknown".into()),
            "{response:?}"
        );
        let receipt = response.json();
        assert_eq!(
            (&receipt["version"], &receipt["account_id"]),
            (&0.into(), &account.into())
        );
    }
    rest.actor.gate.add_permits(100);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_and_brokers_return_the_worker_reply_verbatim() {
    let rest = Rest::start().await;
    let response = rest.get("/state").await;
    assert_eq!(
        (response.status, response.text.as_str()),
        (200, crate::rest_fixture::STATE)
    );
    let response = rest.get("/brokers").await;
    assert_eq!((response.status, &response.json()["brokers"][1]), (200, &"ibkr".into()));
    let change = r#"{"daily_notional_limit":"2000.50","reason":"less"}"#;
    let response = rest.send("PUT", "/state", change, &[]).await;
    assert_eq!(response.status, 200, "{response:?}");
    let body: Value = serde_json::from_slice(&rest.actor.calls(Endpoint::StateSet)[0].body).unwrap();
    assert!(body["actor"].as_str().unwrap().starts_with("rest 127.0.0.1:"), "{body}");
    for bad in [
        r#"{"daily_notional_limit":0,"reason":"r"}"#,
        r#"{"daily_notional_limit":1,"reason":""}"#,
        r#"{"daily_notional_limit":1,"reason":"r","actor":"me"}"#,
        r#"{"daily_notional_limit":1,"daily_notional_limit":2,"reason":"r"}"#,
        "{}",
    ] {
        let response = rest.send("PUT", "/state", bad, &[]).await;
        assert_eq!(response.status, 400, "{bad}: {response:?}");
        response.code();
    }
    assert_eq!(rest.actor.calls(Endpoint::StateSet).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_a_disconnected_client_is_finished() {
    let rest = Rest::start_with(|settings| settings.http.max_in_flight = 1).await;
    let mut stream = tokio::net::TcpStream::connect(rest.address()).await.unwrap();
    let body = intent("wait", &[]);
    let head = format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, format!("{head}{body}").as_bytes())
        .await
        .unwrap();
    poll::until(SOON, "the order at the worker", async || rest.actor.waiting() == 1).await;
    // Resets the connection instead of closing it: the client cannot read a response.
    stream.set_zero_linger().unwrap();
    drop(stream);
    // The request counts as in flight until the worker replies, even without its client.
    assert_eq!(rest.get("/brokers").await.code(), "queue_full");
    rest.actor.gate.add_permits(1);
    poll::until(SOON, "the slot is free again", async || {
        rest.get("/brokers").await.status == 200
    })
    .await;
}
