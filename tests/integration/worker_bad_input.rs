//! Invalid input at the request door: each request returns its error, leaves counters and journal unchanged, and the
//! worker continues.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::StreamExt;
use order_router::domain::order_terms::OrderStatus;
use order_router::wire::problem::Problem;

use crate::ledger_view;
use crate::rig::{Client, Rig, SOON, intent};

/// Sends a raw body, checks the headers of the reply, and returns the code and the field of its problem.
async fn problem(client: &Client, subject: &str, body: Vec<u8>, headers: HeaderMap) -> (String, Option<String>) {
    let request = client
        .raw
        .request_with_headers(subject.to_owned(), headers, body.into());
    let reply = tokio::time::timeout(SOON, request).await.unwrap().unwrap();
    let problem: Problem = serde_json::from_slice(&reply.payload).unwrap();
    let headers = reply.headers.unwrap();
    assert_eq!(
        headers.get("Nats-Service-Error-Code").unwrap().as_str(),
        problem.status.to_string()
    );
    assert!(!headers.get("Nats-Service-Error").unwrap().as_str().is_empty());
    (problem.code, problem.field)
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_intent_returns_its_error_and_changes_nothing() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let subject = "orders.submit.binance.default";
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let good = intent("x", &[]);
    let largest = format!("{}{}", good, " ".repeat(1_048_576 - good.len() - 1_000));
    let rows: Vec<(Vec<u8>, &str, Option<&str>)> = vec![
        (b"".to_vec(), "malformed", None),
        (good.as_bytes()[..good.len() - 2].to_vec(), "malformed", None),
        (b"{\"broker\":\"\xc3\x28\"}".to_vec(), "malformed", None),
        (deep.clone().into(), "malformed", None),
        (
            intent("x", &[("quantity", &deep)]).into(),
            "invalid_field",
            Some("quantity"),
        ),
        (
            good.replacen('{', r#"{"side":"buy","#, 1).into(),
            "invalid_field",
            Some("side"),
        ),
        (intent("x", &[("side", "7")]).into(), "invalid_field", Some("side")),
        (
            intent("x", &[("quantity", "\"NaN\"")]).into(),
            "invalid_field",
            Some("quantity"),
        ),
        (intent("x", &[("quantity", "NaN")]).into(), "malformed", None),
        (
            intent("x", &[("price", "1e400")]).into(),
            "invalid_field",
            Some("price"),
        ),
        (
            intent("x", &[("quantity", "-1")]).into(),
            "invalid_field",
            Some("quantity"),
        ),
        (
            intent("x", &[("quantity", "0")]).into(),
            "invalid_field",
            Some("quantity"),
        ),
        (
            intent("x", &[("quantity", &"9".repeat(40))]).into(),
            "invalid_field",
            Some("quantity"),
        ),
        (
            intent("x", &[("stop_price", "1")]).into(),
            "unknown_field",
            Some("stop_price"),
        ),
        (intent("x", &[("price", "null")]).into(), "invalid_field", Some("price")),
        (
            intent("x", &[("account_id", "\"other\"")]).into(),
            "account_mismatch",
            Some("account_id"),
        ),
        (
            // The account of the risk values is the intent's, and not that of the subject.
            intent("x", &[("risk", r#"{"account_id":"other"}"#)]).into(),
            "account_mismatch",
            Some("account_id"),
        ),
        (
            intent("x", &[("account_id", "\"_\"")]).into(),
            "invalid_field",
            Some("account_id"),
        ),
        (
            intent("x", &[("expires_at", "\"20261129T005130Z\"")]).into(),
            "invalid_field",
            Some("expires_at"),
        ),
        (format!("\u{feff}{good}").into(), "malformed", None),
        (
            intent("x", &[("broker", "\"ibkr\"")]).into(),
            "invalid_field",
            Some("broker"),
        ),
        (
            intent("x", &[("venue", "\"nowhere\"")]).into(),
            "invalid_field",
            Some("venue"),
        ),
        (
            intent("x", &[("venue", "\"ibkr.paper\"")]).into(),
            "invalid_field",
            Some("venue"),
        ),
        (
            intent("x", &[("quantity", "99999999999"), ("price", "999999999")]).into(),
            "invalid_field",
            Some("quantity"),
        ),
    ];
    for (body, code, field) in rows {
        let shown = String::from_utf8_lossy(&body).chars().take(120).collect::<String>();
        let found = problem(&client, subject, body, HeaderMap::new()).await;
        assert_eq!(found, (code.to_owned(), field.map(str::to_owned)), "{shown}");
    }
    let unconfigured = intent("x", &[("broker", "\"kraken\""), ("venue", "\"kraken.spot\"")]);
    let found = problem(
        &client,
        "orders.submit.kraken.default",
        unconfigured.into(),
        HeaderMap::new(),
    )
    .await;
    assert_eq!(found, ("unknown_broker".to_owned(), Some("broker".to_owned())));
    let mut late = HeaderMap::new();
    late.insert("Deadline", "2020-01-01T00:00:00Z");
    assert_eq!(
        problem(&client, subject, good.clone().into(), late).await.0,
        "intent_expired"
    );
    for text in ["soon", "20261129T005130Z", "2026-11-29T00:51:30Z[America/New_York]"] {
        let mut bad = HeaderMap::new();
        bad.insert("Deadline", text);
        let found = problem(&client, subject, good.clone().into(), bad).await;
        assert_eq!(
            found,
            ("invalid_field".to_owned(), Some("Deadline".to_owned())),
            "{text}"
        );
    }
    assert_eq!(client.journal().await.len(), 0);
    let left: Vec<String> = rig
        .store()
        .await
        .into_iter()
        // What counts the orders of a second moves no sum.
        .filter(|(key, fields)| !ledger_view::is_ledger(key) || fields.values().any(|number| number != "0"))
        .map(|(key, _)| key)
        .filter(|key| !["meta", "state", "limits"].contains(&key.as_str()) && !key.starts_with("day_marks:"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    // An order of the largest size that the server accepts is executed; the worker continues.
    assert_eq!(client.report(&largest).await.status, OrderStatus::Filled);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_with_a_foreign_reply_subject_is_neither_executed_nor_answered() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let mut observed = client.raw.subscribe("orders.>").await.unwrap();
    for reply in [
        "orders.reports.binance.default",
        "orders.replies.other.x",
        "orders.intents.binance.default",
        "x",
    ] {
        let body = intent("aimed", &[]);
        client
            .raw
            .publish_with_reply("orders.submit.binance.default", reply, body.into())
            .await
            .unwrap();
    }
    // A later request is answered, so the worker has seen the earlier ones.
    assert_eq!(client.report(&intent("good", &[])).await.status, OrderStatus::Filled);
    rig.quiet().await;
    let reports = client.reports().await;
    assert_eq!(
        reports
            .iter()
            .map(|report| report.client_order_id.as_str())
            .collect::<Vec<_>>(),
        ["good"]
    );
    client.raw.flush().await.unwrap();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(100), observed.next()).await {
        assert!(
            message.subject.starts_with("orders.submit.") || message.payload.windows(6).any(|part| part == b"\"good\""),
            "{message:?}"
        );
    }
    worker.drain(SOON).await;
}
