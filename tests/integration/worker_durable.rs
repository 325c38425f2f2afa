//! The durable door, end to end: an intent is queued, executed once and answered; one that can never succeed is
//! dead-lettered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeSet;

use order_router::bus::subjects;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::OrderStatus;
use order_router::wire::problem::Problem;
use order_router::wire::report::ExecutionReport;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;
use crate::support::process::RouterProcess;

async fn publish(client: &Client, body: impl Into<Vec<u8>>, reply_to: Option<&str>) {
    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::new("default").unwrap());
    client
        .caller
        .publish_intent(&broker, &account, body.into().into(), None, reply_to)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_queued_without_a_worker_are_executed_once() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    worker.drain(SOON).await;
    for n in 0..40 {
        let side = if n % 2 == 0 { "\"buy\"" } else { "\"sell\"" };
        // Each intent is published twice: the second is a replay.
        for _ in 0..2 {
            publish(&client, intent(&format!("d{n}"), &[("side", side)]), None).await;
        }
    }
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    poll::until(SOON, "all orders are reported", async || {
        client.reader.read_extent().await.unwrap().last_sequence >= 40
    })
    .await;
    rig.quiet().await;
    poll::until(SOON, "the queue is empty", async || client.queued().await == 0).await;
    let reports = client.reports().await;
    let ids: BTreeSet<&str> = reports.iter().map(|report| report.client_order_id.as_str()).collect();
    assert_eq!((reports.len(), ids.len()), (40, 40));
    assert!(reports.iter().all(|report| report.status == OrderStatus::Filled));
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn reply_to_receives_reports_denials_and_problems() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let mut inbox = client.raw.subscribe("orders.replies.default.t1").await.unwrap();
    client.raw.request(subjects::BROKERS, "".into()).await.unwrap();
    let mut submit_durably = async |body: Vec<u8>| {
        publish(&client, body, Some("orders.replies.default.t1")).await;
        tokio::time::timeout(SOON, futures_util::StreamExt::next(&mut inbox))
            .await
            .unwrap()
            .unwrap()
            .payload
    };
    let report = ExecutionReport::decode(&submit_durably(intent("a1", &[]).into()).await).unwrap();
    assert_eq!(report.status, OrderStatus::Filled);
    let denied: Problem =
        serde_json::from_slice(&submit_durably(intent("a2", &[("quantity", "0.8")]).into()).await).unwrap();
    assert_eq!(denied.code, "order_size_exceeded");
    for (body, code) in [
        (Vec::new(), "malformed"),
        (b"{\"broker\":\xff".to_vec(), "malformed"),
        (intent("b1", &[("colour", "1")]).into(), "unknown_field"),
        (intent("b2", &[("account_id", "\"other\"")]).into(), "account_mismatch"),
        (intent("b3", &[("broker", "\"ibkr\"")]).into(), "invalid_field"),
        (
            intent("b4", &[("expires_at", "\"2020-01-01T00:00:00Z\"")]).into(),
            "intent_expired",
        ),
        (
            intent("a1", &[("quantity", "0.002")]).into(),
            "client_order_id_conflict",
        ),
    ] {
        let problem: Problem = serde_json::from_slice(&submit_durably(body).await).unwrap();
        assert_eq!(problem.code, code);
    }
    poll::until(SOON, "seven dead letters, an empty queue", async || {
        client.dead_letters().await == 7 && client.queued().await == 0
    })
    .await;
    // The worker continues, the queue is empty, and counters and journal contain the executed orders only.
    assert_eq!(client.report(&intent("a3", &[])).await.status, OrderStatus::Filled);
    assert_eq!(client.reports().await.len(), 3);
    assert_eq!(
        rig.sum("sums:paper:default:binance.spot:BTCUSDT", "position").await,
        200
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_streams_are_created_again_except_the_journal() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    publish(&client, intent("before", &[]), None).await;
    rig.quiet().await;
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    for name in [
        subjects::STREAM_INTENTS,
        subjects::STREAM_ALERTS,
        subjects::STREAM_DEAD_LETTERS,
    ] {
        jetstream.delete_stream(name).await.unwrap();
    }
    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::default_account());
    let body = || intent("after", &[]).into_bytes().into();
    poll::until(SOON, "the work queue takes an intent", async || {
        let kept = client.caller.publish_intent(&broker, &account, body(), None, None);
        kept.await.is_ok()
    })
    .await;
    poll::until(SOON, "the intent is executed", async || {
        let reports = client.reports().await;
        reports.iter().any(|report| report.client_order_id == "after")
    })
    .await;
    // Everything but the journal is there again.
    jetstream.delete_stream(subjects::STREAM_REPORTS).await.unwrap();
    jetstream.delete_stream(subjects::STREAM_INTENTS).await.unwrap();
    for name in [
        subjects::STREAM_INTENTS,
        subjects::STREAM_ALERTS,
        subjects::STREAM_DEAD_LETTERS,
    ] {
        poll::until(SOON, format!("{name} exists"), async || {
            jetstream.get_stream(name).await.is_ok()
        })
        .await;
    }
    assert!(jetstream.get_stream(subjects::STREAM_REPORTS).await.is_err());
    // An archive that was lost must not be replaced by an empty one.
    assert!(jetstream.get_stream(subjects::STREAM_ARCHIVE).await.is_err());
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_queue_that_cannot_be_created_warns_once_and_recovers() {
    let rig = Rig::start().await;
    let mut process = RouterProcess::start(
        &["worker", "--nats-url", &rig.nats.url(), "--redis-url", &rig.redis.url()],
        [],
    );
    poll::until(SOON, "the worker accepts orders", async || {
        process.stderr_text().contains("the worker accepts orders")
    })
    .await;
    let client = rig.caller().await;
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    jetstream.delete_stream(subjects::STREAM_INTENTS).await.unwrap();
    let other = async_nats::jetstream::stream::Config {
        name: "OTHER".to_owned(),
        subjects: vec!["orders.intents.>".to_owned()],
        ..async_nats::jetstream::stream::Config::default()
    };
    jetstream.create_stream(other).await.unwrap();
    // Meanwhile the door of each broker tries five times a second.
    poll::until(SOON, "the worker cannot create the queue", async || {
        process.stderr_text().contains("could not be created; retrying")
    })
    .await;
    let lines = process.stderr_text().matches("lost its consumer").count();
    assert!((1..=2).contains(&lines), "{}", process.stderr_text());
    jetstream.delete_stream("OTHER").await.unwrap();
    poll::until(SOON, "the work queue exists", async || {
        jetstream.get_stream(subjects::STREAM_INTENTS).await.is_ok()
    })
    .await;
    publish(&client, intent("after", &[]), None).await;
    poll::until(SOON, "the intent is executed", async || {
        !client.reports().await.is_empty()
    })
    .await;
    process.terminate(SOON).await;
}
