//! The trace that the work of one call belongs to.

use tracing::Instrument;

use crate::bus::request::BusRequest;
use crate::bus::trace_context::TraceContext;

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// Runs the work of a call in a span. If the call carries a valid `traceparent`, the span is a child of the caller's:
/// it records `trace_id`, `span_id` and `parent_span_id`.
pub(in crate::worker) async fn in_call_span<F: Future>(call: &BusRequest, work: F) -> F::Output {
    let parent = call.traceparent.as_deref().and_then(TraceContext::parse);
    let current = parent.map(TraceContext::child);
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
        _ => tracing::info_span!("call", endpoint),
    };
    CURRENT.scope(current, work.instrument(span)).await
}

/// Returns the `traceparent` of the call that this task works for. Returns `None` for a call without one, and in
/// background tasks.
pub(in crate::worker) fn current_traceparent() -> Option<String> {
    let context = CURRENT.try_with(|current| *current).ok().flatten()?;
    Some(context.to_string())
}
