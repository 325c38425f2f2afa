//! The trace that the work of one call belongs to, and its spans.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use crate::bus::request::{BusReply, BusRequest, Endpoint};
use crate::domain::trace_context::TraceContext;
use crate::fault::Fault;
use crate::telemetry::{PipelineStage, Span, SpanKind, SpanValue, Telemetry};

/// Faults from this HTTP status on mark their span as failed; others are replies.
const FIRST_SERVER_ERROR: u16 = 500;

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// Runs the work of a call in a span. If the call carries a valid `traceparent`, the span is a child of the caller's;
/// otherwise, where calls are traced, it begins a trace. It records `trace_id`, `span_id` and `parent_span_id`.
pub(in crate::worker) async fn in_call_span(
    telemetry: &Telemetry,
    call: &BusRequest,
    work: impl Future<Output = Result<BusReply, Fault>>,
) -> Result<BusReply, Fault> {
    let started_at = Instant::now();
    let parent = call.traceparent.as_deref().and_then(TraceContext::parse);
    let current = parent.map(TraceContext::child).or_else(|| new_trace(telemetry, call));
    let endpoint = call.endpoint.name();
    // With all fields at once: each field recorded later formats the span again.
    let span = match (parent, current) {
        (Some(parent), Some(current)) => tracing::info_span!(
            "call",
            endpoint,
            trace_id = current.trace_id(),
            span_id = current.span_id(),
            parent_span_id = parent.span_id(),
        ),
        (None, Some(current)) => tracing::info_span!(
            "call",
            endpoint,
            trace_id = current.trace_id(),
            span_id = current.span_id()
        ),
        _ => tracing::info_span!("call", endpoint),
    };
    let result = CURRENT.scope(current, work.instrument(span)).await;
    if let Some(context) = current
        && !is_probe(call)
    {
        telemetry.record_span(context, || call_span(call, parent, started_at.elapsed(), &result));
    }
    result
}

/// Records how long a stage took, as a measurement and as a span of the call that this task works for.
pub(in crate::worker) fn record_stage(telemetry: &Telemetry, stage: PipelineStage, elapsed: Duration) {
    telemetry.observe_stage(stage, elapsed);
    if !telemetry.is_tracing() {
        return;
    }
    let Some(parent) = current_context().filter(TraceContext::is_sampled) else {
        return;
    };
    telemetry.record_span(parent.child(), || Span {
        parent: Some(parent),
        name: stage.as_str().into(),
        kind: SpanKind::Internal,
        elapsed,
        attributes: Vec::new(),
        error: None,
    });
}

/// Returns the `traceparent` of the call that this task works for. Returns `None` for a call without one, where calls are
/// not traced, and in background tasks.
pub(in crate::worker) fn current_traceparent() -> Option<String> {
    Some(current_context()?.to_string())
}

fn current_context() -> Option<TraceContext> {
    CURRENT.try_with(|current| *current).ok().flatten()
}

fn new_trace(telemetry: &Telemetry, call: &BusRequest) -> Option<TraceContext> {
    match is_probe(call) {
        true => None,
        false => telemetry.new_trace(),
    }
}

/// Reports whether a call asks for the worker's health: several a second, which no one looks for in traces.
fn is_probe(call: &BusRequest) -> bool {
    call.endpoint == Endpoint::Health
}

fn call_span(
    call: &BusRequest,
    parent: Option<TraceContext>,
    elapsed: Duration,
    result: &Result<BusReply, Fault>,
) -> Span {
    let mut attributes = vec![("messaging.system", SpanValue::Text("nats".to_owned()))];
    for (name, value) in [
        ("order_router.broker", &call.broker),
        ("order_router.account_id", &call.account),
    ] {
        attributes.extend(value.clone().map(|value| (name, SpanValue::Text(value))));
    }
    let (sequence, fault) = match result {
        Ok(reply) => (reply.journal_sequence, None),
        Err(fault) => (fault.journal_sequence, Some(fault)),
    };
    attributes.extend(sequence.map(|sequence| ("order_router.journal_sequence", SpanValue::Whole(sequence))));
    attributes.extend(fault.map(|fault| ("order_router.code", SpanValue::Text(fault.code.as_str().to_owned()))));
    Span {
        parent,
        name: call.endpoint.name().into(),
        kind: SpanKind::Server,
        elapsed,
        attributes,
        error: fault
            .filter(|fault| fault.code.status() >= FIRST_SERVER_ERROR)
            .map(|fault| fault.code.as_str().to_owned()),
    }
}
