//! Traces: one from REST through the bus to the journal, received by a collector that decodes OTLP with the generated types
//! of OpenTelemetry.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use order_router::bus::headers::TRACEPARENT;
use order_router::bus::subjects;
use order_router::domain::trace_context::TraceContext;
use order_router::telemetry::Telemetry;
use order_router::worker::Worker;
use prost::Message;

use crate::rest_fixture::client;
use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::support::process::RouterProcess;

const CLIENT_TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNRECORDED_TRACE: &str = "00-11111111111111111111111111111111-b7ad6b7169203331-00";

/// A collector; clones share what it has received.
#[derive(Clone, Default)]
struct Collector {
    exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    /// Starts one and returns it with its URL.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let routes = Router::new()
            .route("/v1/traces", post(Self::receive))
            .with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, url)
    }

    async fn receive(State(collector): State<Self>, headers: HeaderMap, body: Bytes) -> StatusCode {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let export = ExportTraceServiceRequest::decode(body).unwrap();
        collector.exports.lock().unwrap().push(export);
        StatusCode::OK
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.exports.lock().unwrap();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        resources
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }

    fn services(&self) -> Vec<String> {
        let exports = self.exports.lock().unwrap();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        resources
            .filter_map(|resource| resource.resource.as_ref())
            .flat_map(|resource| &resource.attributes)
            .filter(|attribute| attribute.key == "service.name")
            .map(|attribute| format!("{:?}", attribute.value.as_ref().and_then(|value| value.value.clone())))
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(found.len(), 1, "one span {name} of {names:?}");
    found[0]
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.clone()
}

/// Asserts that a span belongs to another and lies within it.
#[track_caller]
fn assert_child(child: &Span, parent: &Span) {
    assert_eq!(child.trace_id, parent.trace_id, "{}", child.name);
    assert_eq!(child.parent_span_id, parent.span_id, "{}", child.name);
    assert_ne!(child.span_id, parent.span_id);
    assert!(child.start_time_unix_nano <= child.end_time_unix_nano);
    // Start and end come from two clocks, of the system and of durations.
    let slack = 2_000_000;
    assert!(
        child.start_time_unix_nano + slack >= parent.start_time_unix_nano
            && child.end_time_unix_nano <= parent.end_time_unix_nano + slack,
        "{child:?} in {parent:?}"
    );
}

async fn submit(url: &str, id: &str, traceparent: Option<&str>) -> StatusCode {
    let mut request = client()
        .post(format!("{url}/orders"))
        .header("content-type", "application/json")
        .body(intent(id, &[]));
    if let Some(traceparent) = traceparent {
        request = request.header(TRACEPARENT, traceparent);
    }
    StatusCode::from_u16(request.send().await.unwrap().status().as_u16()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_rest_to_the_journal() {
    let (rig, (collector, endpoint)) = tokio::join!(Rig::start(), Collector::start());
    let environment = [
        ("ORDER_ROUTER_NATS_URL", rig.settings.nats.url.as_str()),
        ("ORDER_ROUTER_REDIS_URL", &rig.settings.redis.url),
        ("ORDER_ROUTER_HTTP_ADDR", "127.0.0.1:0"),
        ("ORDER_ROUTER_OTLP_ENDPOINT", &endpoint),
    ];
    let mut worker = RouterProcess::start(&["worker"], environment);
    worker.wait_ready(SOON).await;
    let mut sidecar = RouterProcess::start(&["sidecar"], environment);
    let ready = sidecar.wait_ready(SOON).await;
    let url = ready.split("http=").nth(1).unwrap().to_owned();

    assert_eq!(submit(&url, "traced", Some(CLIENT_TRACE)).await, StatusCode::CREATED);
    assert_eq!(submit(&url, "own", None).await, StatusCode::CREATED);
    assert_eq!(
        submit(&url, "unrecorded", Some(UNRECORDED_TRACE)).await,
        StatusCode::CREATED
    );
    assert_eq!(
        client().get(format!("{url}/health")).send().await.unwrap().status(),
        200
    );
    // What waits is exported at the end.
    assert!(worker.terminate(SOON).await.success());
    assert_eq!(submit(&url, "nobody", None).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(sidecar.terminate(SOON).await.success());

    let all = collector.spans();
    let client_trace = TraceContext::parse(CLIENT_TRACE).unwrap();
    let traced: Vec<Span> = all
        .iter()
        .filter(|span| hex(&span.trace_id) == client_trace.trace_id())
        .cloned()
        .collect();
    let rest = named(&traced, "POST /orders");
    assert_eq!(hex(&rest.parent_span_id), client_trace.span_id());
    assert_eq!(rest.kind(), SpanKind::Server);
    assert_eq!(attribute(rest, "http.response.status_code"), Some(Value::IntValue(201)));
    let request = named(&traced, "bus request");
    assert_eq!(request.kind(), SpanKind::Client);
    let subject = Value::StringValue("orders.submit.binance.default".to_owned());
    assert_eq!(attribute(request, "messaging.destination.name"), Some(subject));
    let call = named(&traced, "submit");
    assert_eq!(call.kind(), SpanKind::Server);
    assert_child(request, rest);
    assert_child(call, request);
    for stage in ["reserve", "journal"] {
        assert_child(named(&traced, stage), call);
    }
    assert_eq!(traced.len(), 5, "{traced:?}");
    // The journal's entry names the worker's span.
    let Some(Value::IntValue(sequence)) = attribute(call, "order_router.journal_sequence") else {
        panic!("{call:?}");
    };
    let jetstream = async_nats::jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap());
    let journal = jetstream.get_stream(subjects::STREAM_REPORTS).await.unwrap();
    let entry = journal.get_raw_message(u64::try_from(sequence).unwrap()).await.unwrap();
    let header = TraceContext::parse(entry.headers.get(TRACEPARENT).unwrap().as_str()).unwrap();
    assert_eq!(
        (header.trace_id(), header.span_id()),
        (hex(&call.trace_id), hex(&call.span_id))
    );

    // A request without a trace begins one; one that says so is not recorded; probes begin none.
    let roots: Vec<&Span> = all.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 2, "{roots:?}");
    assert!(roots.iter().all(|root| root.name == "POST /orders"), "{roots:?}");
    let unrecorded = TraceContext::parse(UNRECORDED_TRACE).unwrap().trace_id();
    assert!(all.iter().all(|span| hex(&span.trace_id) != unrecorded));
    assert!(all.iter().all(|span| !span.name.contains("health")));
    // Failures are marked.
    let failed: Vec<&Span> = all
        .iter()
        .filter(|span| span.status.as_ref().is_some_and(|status| status.code == 2))
        .collect();
    let mut reasons: Vec<(&str, &str)> = failed
        .iter()
        .map(|span| (span.name.as_str(), span.status.as_ref().unwrap().message.as_str()))
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(reasons[0], ("POST /orders", "503"));
    assert!(
        reasons[1].0 == "bus request" && reasons[1].1.contains("worker"),
        "{reasons:?}"
    );
    assert!(collector.services().iter().all(|name| name.contains("order-router")));
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_that_never_answers_delays_no_order() {
    let mut rig = Rig::start().await;
    // Connections are accepted by the kernel, and no one reads them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.settings.otlp.endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
    rig.settings.otlp.queue_max = 4;
    rig.settings.otlp.batch_max = 2;
    rig.settings.otlp.timeout_ms = 100;
    let telemetry = Telemetry::start(&rig.settings.otlp).unwrap();
    let worker = Worker::start_with_telemetry(&rig.settings, telemetry.clone())
        .await
        .unwrap();
    let client = rig.caller().await;
    for order in 0..100 {
        client.report(&intent(&format!("o{order}"), &[])).await;
    }
    let count = |outcome: &str| -> u64 {
        let line = format!("order_router_spans_total{{outcome=\"{outcome}\"}} ");
        let text = telemetry.render();
        let found = text.lines().find_map(|metric| metric.strip_prefix(&line));
        found.map_or(0, |value| value.parse().unwrap())
    };
    assert!(count("queue_full") > 0, "{}", telemetry.render());
    poll::until(SOON, "an export that fails", async || count("export_failed") > 0).await;
    assert_eq!(count("exported"), 0);
    worker.drain(SOON).await;
    let started = Instant::now();
    telemetry.finish_spans(Duration::from_secs(3)).await;
    assert!(started.elapsed() < Duration::from_secs(4));
}
