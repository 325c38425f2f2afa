//! The trace of one REST request, and the spans of its requests on the bus. Without `otlp.endpoint` there is none: then the
//! client's `traceparent` is forwarded as it is.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};

use crate::bus::headers::TRACEPARENT;
use crate::domain::trace_context::TraceContext;
use crate::telemetry::{Span, SpanKind, SpanValue, Telemetry};

/// What the paths of probes begin with: they come several times a minute, and no one looks for them in traces.
const PROBE_PATHS: &[&str] = &["/health", "/metrics"];

/// The span of a REST request, and the client's span that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(in crate::sidecar) struct RequestTrace {
    context: TraceContext,
    parent: Option<TraceContext>,
}

impl RequestTrace {
    /// Begins the span of a request; `None` where requests are not traced, and for probes.
    pub(in crate::sidecar) fn start(telemetry: &Telemetry, request: &Request) -> Option<Self> {
        if !telemetry.is_tracing() || PROBE_PATHS.iter().any(|path| request.uri().path().starts_with(path)) {
            return None;
        }
        let parent = client_trace(request.headers());
        let context = parent.map(TraceContext::child).or_else(|| telemetry.new_trace())?;
        Some(Self { context, parent })
    }

    /// Returns the context of a new request on the bus.
    pub(in crate::sidecar) fn child(&self) -> TraceContext {
        self.context.child()
    }

    /// Records the span of the REST request.
    pub(in crate::sidecar) fn record(
        &self,
        telemetry: &Telemetry,
        method: &str,
        route: &str,
        status: StatusCode,
        elapsed: Duration,
    ) {
        telemetry.record_span(self.context, || Span {
            parent: self.parent,
            name: format!("{method} {route}").into(),
            kind: SpanKind::Server,
            elapsed,
            attributes: vec![
                ("http.request.method", SpanValue::Text(method.to_owned())),
                ("http.route", SpanValue::Text(route.to_owned())),
                ("http.response.status_code", SpanValue::Whole(status.as_u16().into())),
            ],
            error: status.is_server_error().then(|| status.as_str().to_owned()),
        });
    }

    /// Records the span of a request on the bus; `error` says why it has no reply.
    pub(in crate::sidecar) fn record_bus_request(
        &self,
        telemetry: &Telemetry,
        context: TraceContext,
        subject: &str,
        elapsed: Duration,
        error: Option<String>,
    ) {
        telemetry.record_span(context, || Span {
            parent: Some(self.context),
            name: "bus request".into(),
            kind: SpanKind::Client,
            elapsed,
            attributes: vec![
                ("messaging.system", SpanValue::Text("nats".to_owned())),
                ("messaging.destination.name", SpanValue::Text(subject.to_owned())),
            ],
            error,
        });
    }
}

/// Returns the client's trace context (W3C Trace Context, version 00), or `None` without a valid one.
pub(in crate::sidecar) fn client_trace(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
}
