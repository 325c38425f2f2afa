//! `GET /risk/alerts` and `order-router alerts`: alerts published before and after the sidecar starts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use async_nats::jetstream::{self, Context};
use order_router::bus::subjects;
use order_router::domain::id::AccountId;
use order_router::sidecar::Sidecar;
use serde_json::{Value, json};

use crate::rest_fixture::{RestResponse, client};
use crate::rig::{Rig, SOON, intent};
use crate::support::poll;

fn alert(n: usize, level: &str, account: &str, rule: &str) -> Value {
    json!({"alert_id": format!("0195561f-2a00-7c3e-9d1b-{n:012}"), "rule_id": rule, "level": level, "message": "m",
        "metadata": {"limit": 0.5}, "account_id": account, "symbol": "BTCUSDT", "client_order_id": n.to_string(),
        "order_id": null, "timestamp": "2026-03-02T09:00:00.000000Z"})
}

async fn publish(stream: &Context, alert: &Value) {
    let account = AccountId::new(alert["account_id"].as_str().unwrap()).unwrap();
    let subject = subjects::alert(alert["level"].as_str().unwrap(), Some(&account));
    stream
        .publish(subject, alert.to_string().into())
        .await
        .unwrap()
        .await
        .unwrap();
}

async fn get(sidecar: &Sidecar, query: &str) -> RestResponse {
    let url = format!("http://{}/risk/alerts{query}", sidecar.address());
    RestResponse::read(client().get(url).send().await.unwrap()).await
}

/// Returns the client order ids of the listed alerts, in list order.
async fn client_order_ids(sidecar: &Sidecar, query: &str) -> Vec<String> {
    let response = get(sidecar, query).await;
    assert_eq!(response.status, 200, "{response:?}");
    let list = response.json();
    let id = |alert: &Value| alert["client_order_id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(id).collect()
}

/// Returns the ids from `from` down to `to`.
fn descending_ids(from: usize, to: usize) -> Vec<String> {
    (to..=from).rev().map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_listed_newest_first_across_restarts() {
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    // The stream does not exist yet.
    let response = get(&sidecar, "").await;
    assert_eq!((response.status, response.code().as_str()), (503, "bus_unavailable"));
    assert_eq!(response.header("retry-after"), "1");
    let worker = rig.worker().await;
    poll::until(SOON, "the stream is read", async || {
        get(&sidecar, "").await.status == 200
    })
    .await;
    assert!(client_order_ids(&sidecar, "").await.is_empty());
    sidecar.drain(SOON).await;

    let stream = jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap());
    for n in 1..=300 {
        publish(&stream, &alert(n, "alert", "default", "max_notional")).await;
    }
    // Alerts published before the start are in the first response.
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    assert_eq!(client_order_ids(&sidecar, "?limit=500").await, descending_ids(300, 1));
    assert_eq!(client_order_ids(&sidecar, "").await, descending_ids(300, 201));
    assert_eq!(client_order_ids(&sidecar, "?limit=1").await, ["300"]);
    let newest = get(&sidecar, "?limit=1").await;
    assert_eq!(newest.json()[0], alert(300, "alert", "default", "max_notional"));

    for (n, level, account, rule) in [
        (301, "lock", "default", "order_size"),
        (302, "alert", "fund", "max_notional"),
        (303, "lock", "fund", "order_size"),
    ] {
        publish(&stream, &alert(n, level, account, rule)).await;
    }
    let wait_for_newest = async |id: &str| {
        poll::until(SOON, format!("alert {id} is listed"), async || {
            client_order_ids(&sidecar, "?limit=1").await == [id.to_owned()]
        })
        .await;
    };
    wait_for_newest("303").await;
    for (query, expected) in [
        ("?level=lock", vec!["303", "301"]),
        ("?account_id=fund", vec!["303", "302"]),
        ("?rule_id=order_size", vec!["303", "301"]),
        ("?level=alert&account_id=fund&rule_id=max_notional", vec!["302"]),
        ("?level=lock&limit=1", vec!["303"]),
        ("?account_id=unknown", vec![]),
    ] {
        assert_eq!(client_order_ids(&sidecar, query).await, expected, "{query}");
    }

    // Across a restart of NATS: no gap, no duplicate, and the list remains readable meanwhile.
    rig.nats.kill9();
    assert_eq!(client_order_ids(&sidecar, "?limit=2").await, descending_ids(303, 302));
    rig.nats.restart().await;
    let stream = jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap());
    for n in 304..=320 {
        publish(&stream, &alert(n, "alert", "default", "max_notional")).await;
    }
    wait_for_newest("320").await;
    assert_eq!(client_order_ids(&sidecar, "?limit=500").await, descending_ids(320, 1));

    // A recreated stream replaces the list.
    stream.delete_stream(subjects::STREAM_ALERTS).await.unwrap();
    worker.drain(SOON).await;
    let worker = rig.worker().await;
    for n in 1..=3 {
        publish(&stream, &alert(n, "alert", "default", "max_notional")).await;
    }
    poll::until(SOON, "the alerts of the recreated stream are listed", async || {
        client_order_ids(&sidecar, "").await == descending_ids(3, 1)
    })
    .await;
    worker.drain(SOON).await;
    sidecar.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameter_is_named_and_the_command_shows_the_rule() {
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    rig.settings.risk.daily_notional_limit = "1000".to_owned();
    let worker = rig.worker().await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    for (query, code, field) in [
        ("?limit=0", "invalid_field", "limit"),
        ("?limit=501", "invalid_field", "limit"),
        ("?limit=-1", "invalid_field", "limit"),
        ("?limit=ten", "invalid_field", "limit"),
        ("?level=warning", "invalid_field", "level"),
        ("?account_id=a.b", "invalid_field", "account_id"),
        ("?rule_id=", "invalid_field", "rule_id"),
        ("?rule_id=a%20b", "invalid_field", "rule_id"),
        ("?limit=1&limit=2", "invalid_field", "limit"),
        ("?offset=1", "unknown_field", "offset"),
    ] {
        let response = get(&sidecar, query).await;
        let named = response.json()["field"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (response.status, response.code().as_str(), named.as_str()),
            (400, code, field),
            "{query}"
        );
    }
    // The rule's name travels from the worker to the terminal.
    let client = rig.caller().await;
    client
        .fault(&intent("big", &[("quantity", "0.1"), ("account_id", "\"fund\"")]))
        .await;
    poll::until(SOON, "the lock is listed", async || {
        !client_order_ids(&sidecar, "").await.is_empty()
    })
    .await;
    let address = sidecar.address().to_string();
    let alerts = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
        command
            .args(["alerts", "--http-addr", &address])
            .args(args)
            .kill_on_drop(true);
        tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap()
    };
    let shown = alerts(&["--account", "fund", "--level", "lock"]).await;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert!(shown.status.success() && lines.len() == 2, "{text}");
    assert!(lines[0].starts_with("time") && lines[1].contains("max_daily_notional") && lines[1].contains("big"));
    let shown = alerts(&["--json", "--rule", "max_daily_notional"]).await;
    let list: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(list[0]["client_order_id"], "big");
    let refused = alerts(&["--limit", "501", "--json"]).await;
    let problem: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(
        (refused.status.code(), problem["field"].as_str()),
        (Some(1), Some("limit"))
    );
    sidecar.drain(SOON).await;
    assert_eq!(alerts(&[]).await.status.code(), Some(1));
    worker.drain(SOON).await;
}
