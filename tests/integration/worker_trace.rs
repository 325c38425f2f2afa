//! The trace context of a call: the report that the call journals carries it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use bytes::Bytes;
use order_router::bus::headers::TRACEPARENT;
use order_router::bus::request::BusReply;
use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::time::Timestamp;
use order_router::domain::trace_context::TraceContext;

use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;

const REQUEST_TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const INTENT_TRACE: &str = "00-11111111111111111111111111111111-2222222222222222-00";

fn ids() -> (BrokerId, AccountId) {
    (BrokerId::new("binance").unwrap(), AccountId::new("default").unwrap())
}

async fn request(client: &Client, subject: &str, body: &str, traceparent: &str) -> Result<BusReply, RequestError> {
    let deadline = Timestamp::now().saturating_add(Duration::from_secs(10));
    let body = Bytes::from(body.to_owned());
    client.caller.request_traced(subject, body, deadline, traceparent).await
}

/// Returns the header of a journal entry.
async fn journaled_traceparent(client: &Client, sequence: u64) -> Option<String> {
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let journal = jetstream.get_stream(subjects::STREAM_REPORTS).await.unwrap();
    let entry = journal.get_raw_message(sequence).await.unwrap();
    entry.headers.get(TRACEPARENT).map(|value| value.as_str().to_owned())
}

/// Asserts that a journal entry belongs to the caller's trace, under a span of the worker's own.
async fn assert_traced(client: &Client, sequence: u64, caller: &str) {
    let header = journaled_traceparent(client, sequence).await.unwrap();
    let (caller, worker) = (
        TraceContext::parse(caller).unwrap(),
        TraceContext::parse(&header).unwrap(),
    );
    assert_eq!(worker.trace_id(), caller.trace_id());
    assert_ne!(worker.span_id(), caller.span_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn journaled_report_carries_the_trace_of_its_request() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let (broker, account) = ids();
    let submit = subjects::submit(&broker, &account);

    // A fill, and a denial.
    let reply = request(&client, &submit, &intent("filled", &[]), REQUEST_TRACE)
        .await
        .unwrap();
    assert_traced(&client, reply.journal_sequence.unwrap(), REQUEST_TRACE).await;
    let denied = intent("denied", &[("quantity", "100000")]);
    let Err(RequestError::Fault(fault)) = request(&client, &submit, &denied, REQUEST_TRACE).await else {
        panic!("a rule denies the order");
    };
    assert_traced(&client, fault.journal_sequence.unwrap(), REQUEST_TRACE).await;

    // An order that stays open, and its cancel: each report carries the trace of its own call.
    let broker = BrokerId::new("ibkr").unwrap();
    let submit = subjects::submit(&broker, &account);
    let reply = request(&client, &submit, &ibkr("open", &[]), REQUEST_TRACE)
        .await
        .unwrap();
    assert_traced(&client, reply.journal_sequence.unwrap(), REQUEST_TRACE).await;
    let cancel = subjects::cancel(&broker, Some(&account));
    let body = r#"{"client_order_id":"open"}"#;
    let reply = request(&client, &cancel, body, INTENT_TRACE).await.unwrap();
    assert_traced(&client, reply.journal_sequence.unwrap(), INTENT_TRACE).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_traceparent_is_ignored() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let (broker, account) = ids();
    let submit = subjects::submit(&broker, &account);
    for (n, header) in [
        "00-1-2-01",
        "",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ]
    .iter()
    .enumerate()
    {
        let reply = request(&client, &submit, &intent(&format!("i{n}"), &[]), header)
            .await
            .unwrap();
        let sequence = reply.journal_sequence.unwrap();
        assert_eq!(journaled_traceparent(&client, sequence).await, None, "{header:?}");
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journaled_report_carries_the_trace_of_its_durable_intent() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let (broker, account) = ids();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(TRACEPARENT, INTENT_TRACE);
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let published = jetstream
        .publish_with_headers(subjects::intent(&broker, &account), headers, intent("d", &[]).into())
        .await
        .unwrap();
    published.await.unwrap();
    let sequence = poll::eventually(SOON, "the report is journaled", async || {
        let entries = client.whole_journal().await;
        let report = entries.iter().find(|entry| subjects::is_report(&entry.subject));
        report.map(|entry| entry.sequence)
    })
    .await;
    assert_traced(&client, sequence, INTENT_TRACE).await;
    worker.drain(SOON).await;
}
