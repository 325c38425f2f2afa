//! The trace that the work of one call belongs to.

use tracing::Instrument;
use tracing::field::{Empty, display};

use crate::bus::request::BusRequest;
use crate::bus::trace_context::TraceContext;

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// Runs the work of a call in a span. If the call carries a valid `traceparent`, the span is a child of the caller's:
/// it records `trace_id`, `span_id` and `parent_span_id`.
pub(in crate::worker) async fn in_call_span<F: Future>(call: &BusRequest, work: F) -> F::Output {
    let span = tracing::info_span!(
        "call",
        endpoint = call.endpoint.name(),
        trace_id = Empty,
        span_id = Empty,
        parent_span_id = Empty,
    );
    let parent = call.traceparent.as_deref().and_then(TraceContext::parse);
    let current = parent.map(TraceContext::child);
    if let (Some(parent), Some(current)) = (parent, current)
        && !span.is_disabled()
    {
        span.record("trace_id", display(current.trace_id()));
        span.record("span_id", display(current.span_id()));
        span.record("parent_span_id", display(parent.span_id()));
    }
    CURRENT.scope(current, work.instrument(span)).await
}

/// Returns the `traceparent` of the call that this task works for. Returns `None` for a call without one, and in
/// background tasks.
pub(in crate::worker) fn current_traceparent() -> Option<String> {
    let context = CURRENT.try_with(|current| *current).ok().flatten()?;
    Some(context.to_string())
}
