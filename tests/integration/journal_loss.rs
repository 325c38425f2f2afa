//! A journal that lost its first entries, or some in between: it is noticed, one command accepts it, and rebuilds and the
//! order log then go on with what is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::net::SocketAddr;

use async_nats::jetstream::stream::Stream;
use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::domain::order_terms::OrderStatus;
use order_router::sidecar::Sidecar;
use order_router::worker::Worker;
use serde_json::{Value, json};

use crate::exposition::Scrape;
use crate::rest_router;
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;
use crate::support::process::RouterProcess;

const INCOMPLETE: &str = "order_router_journal_incomplete";
const POSITION: &str = "sums:paper:default:ibkr.paper:AAPL";

async fn rig() -> Rig {
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    rig.settings.metrics.addr = Some(([127, 0, 0, 1], 0).into());
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    rig
}

async fn stream(client: &Client) -> Stream {
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    jetstream.get_stream(subjects::STREAM_REPORTS).await.unwrap()
}

/// Returns the journal sequence of an order's version.
async fn sequence_of(client: &Client, client_order_id: &str, version: u32) -> u64 {
    let entries = client.whole_journal().await;
    let wanted = |body: &[u8]| {
        let report: Value = serde_json::from_slice(body).unwrap();
        report["client_order_id"] == client_order_id && report["version"] == version
    };
    entries.iter().find(|entry| wanted(&entry.body)).unwrap().sequence
}

async fn accept_loss(rig: &Rig, reason: &str) -> (bool, String) {
    let url = rig.nats.url();
    let args = [
        "journal",
        "accept-loss",
        "--actor",
        "mira",
        "--reason",
        reason,
        "--json",
    ];
    let mut process = RouterProcess::start(&[&args[..], &["--nats-url", &url]].concat(), []);
    let ended = process.process().wait(SOON).await;
    poll::until(SOON, "all the output", async || process.is_read()).await;
    (ended.success(), process.stdout_text() + &process.stderr_text())
}

async fn check(sidecar: &Sidecar, part: &str) -> (u16, Value) {
    let response = rest_router::get(sidecar, "/health").await;
    (response.status, response.json()["checks"][part].clone())
}

async fn wait_for_journal(sidecar: &Sidecar, code: u16, status: &str) -> String {
    let found = poll::eventually(SOON, format!("the journal is {status}"), async || {
        let (found, journal) = check(sidecar, "journal").await;
        (found == code && journal["status"] == status).then_some(journal)
    })
    .await;
    found["detail"].as_str().unwrap_or_default().to_owned()
}

fn metrics_address(worker: &Worker) -> SocketAddr {
    worker.metrics_address().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_beginning_is_reported_and_once_accepted_a_lost_redis_is_rebuilt() {
    let rig = rig().await;
    let worker = rig.worker().await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let client = rig.caller().await;
    client.report(&intent("a1", &[])).await;
    let open = client.report(&ibkr("a2", &[])).await;
    assert_eq!(open.status, OrderStatus::PartiallyFilled);
    let cancelled = client.order("cancel", "ibkr", r#"{"client_order_id":"a2"}"#).await;
    assert_eq!(cancelled.unwrap().version, 2);
    rig.quiet().await;
    let (position, fees) = (rig.sum(POSITION, "position").await, rig.sum(POSITION, "fees").await);
    let long = rig.sum(POSITION, "long").await;
    assert!(position > 0 && long == position, "{position} {long}");
    // The fill of a2 and all before it is lost.
    let first = sequence_of(&client, "a2", 2).await;
    stream(&client).await.purge().sequence(first).await.unwrap();
    let detail = wait_for_journal(&sidecar, 200, "incomplete").await;
    assert!(
        detail.contains(&format!("begins at sequence {first}")) && detail.contains("accept-loss"),
        "{detail}"
    );
    Scrape::wait_for(metrics_address(&worker), INCOMPLETE, &[], Some("1")).await;
    client.report(&intent("a3", &[])).await;
    rig.quiet().await;

    rig.redis.flushall().await;
    let detail = wait_for_journal(&sidecar, 503, "failing").await;
    assert!(detail.contains("accept-loss"), "{detail}");
    let error = Worker::start(&rig.settings).await.expect_err("no worker starts");
    assert!(
        error.to_string().contains("order-router journal accept-loss"),
        "{error}"
    );

    let (done, output) = accept_loss(&rig, "the disk\u{7}was full").await;
    assert!(!done && output.contains("reason"), "{output}");
    let (done, output) = accept_loss(&rig, "purged by mistake").await;
    assert!(done, "{output}");
    let accepted: Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
    assert_eq!(accepted["accepted"]["first_sequence"], first);
    wait_for_journal(&sidecar, 200, "ok").await;
    Scrape::wait_for(metrics_address(&worker), INCOMPLETE, &[], Some("0")).await;
    let sums = (rig.sum(POSITION, "position").await, rig.sum(POSITION, "fees").await);
    assert_eq!(sums, (position, fees), "the order counts by its last report");
    assert_eq!(rig.sum(POSITION, "long").await, long);
    let another = rig.worker().await;
    client.report(&intent("a4", &[])).await;
    let journaled = client.reader.read_accepted_loss().await.unwrap();
    let (event, sequence) = journaled.expect("the acceptance is journaled");
    assert_eq!(
        (event.actor.as_str(), event.reason.as_str()),
        ("mira", "purged by mistake")
    );
    assert_eq!(accepted["journal_sequence"], sequence);
    // Nothing more is lost.
    let (done, output) = accept_loss(&rig, "again").await;
    assert!(done && output.contains("\"accepted\":null"), "{output}");
    // The next loss is another one.
    stream(&client).await.purge().sequence(first + 1).await.unwrap();
    wait_for_journal(&sidecar, 200, "incomplete").await;
    sidecar.drain(SOON).await;
    tokio::join!(worker.drain(SOON), another.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn gap_in_the_journal_is_reported_and_accepted() {
    let rig = rig().await;
    let worker = rig.worker().await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let client = rig.caller().await;
    client.report(&ibkr("a1", &[])).await;
    client
        .order("cancel", "ibkr", r#"{"client_order_id":"a1"}"#)
        .await
        .unwrap();
    rig.quiet().await;
    let position = rig.sum(POSITION, "position").await;
    let lost = sequence_of(&client, "a1", 1).await;
    stream(&client).await.delete_message(lost).await.unwrap();
    let detail = wait_for_journal(&sidecar, 200, "incomplete").await;
    assert!(detail.contains("lacks 1 entries"), "{detail}");
    rig.redis.flushall().await;
    wait_for_journal(&sidecar, 503, "failing").await;
    assert!(accept_loss(&rig, "a defect disk").await.0);
    wait_for_journal(&sidecar, 200, "ok").await;
    assert_eq!(rig.sum(POSITION, "position").await, position);
    sidecar.drain(SOON).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_log_that_missed_lost_entries_continues_once_the_loss_is_accepted() {
    let rig = rig().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    client.report(&intent("a1", &[])).await;
    let listed = async |sidecar: &Sidecar, id: &str| {
        let response = rest_router::get(sidecar, &format!("/orders/log?client_order_id={id}")).await;
        response.status == 200 && response.json()["metadata"]["total"] == 1
    };
    poll::until(SOON, "the first order is listed", async || listed(&sidecar, "a1").await).await;
    sidecar.drain(SOON).await;
    for id in ["a2", "a3", "a4"] {
        client.report(&intent(id, &[])).await;
    }
    rig.quiet().await;
    let first = sequence_of(&client, "a4", 1).await;
    stream(&client).await.purge().sequence(first).await.unwrap();
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let detail = poll::eventually(SOON, "the order log is refused", async || {
        let (_, log) = check(&sidecar, "order_log").await;
        (log["status"] == "refused").then(|| log["detail"].to_string())
    })
    .await;
    assert!(detail.contains("accept-loss"), "{detail}");
    assert!(accept_loss(&rig, "purged").await.0);
    poll::until(SOON, "the order log continues", async || {
        check(&sidecar, "order_log").await.1["status"] == "ok"
    })
    .await;
    assert!(listed(&sidecar, "a1").await && listed(&sidecar, "a4").await);
    let missing = rest_router::get(&sidecar, "/orders/log?client_order_id=a2").await;
    assert_eq!(missing.json()["metadata"]["total"], json!(0));
    sidecar.drain(SOON).await;
    worker.drain(SOON).await;
}
