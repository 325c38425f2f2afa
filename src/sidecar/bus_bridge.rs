//! Requests on the bus: each with its deadline, its trace, and a bounded wait for the reply.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::bus::request::BusReply;
use crate::bus::router_client::RequestError;
use crate::repeated_log::log_at_intervals;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;

/// The body of a request without fields.
pub(in crate::sidecar) const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");
/// The detail of a read that got no reply in time.
pub(in crate::sidecar) const READ_TIMEOUT_DETAIL: &str = "no worker replied in time; retry";

/// Sends a request and waits for its reply. Later reads of this sidecar's order log include what the reply reports.
///
/// # Errors
/// The fault that a worker replies with, or of a request that was not sent; [`RequestError::Timeout`] if the outcome is
/// unknown.
pub(in crate::sidecar) async fn call(
    context: &SidecarContext,
    subject: &str,
    body: impl Into<Bytes>,
    call_context: &CallContext,
) -> Result<BusReply, RequestError> {
    let timeout = call_context.reply_deadline().saturating_duration_since(Instant::now());
    let started_at = Instant::now();
    let trace = call_context.trace().map(|trace| (trace, trace.child()));
    let traceparent = trace.map(|(_, context)| context.to_string());
    let request = context.bus_client.request_with_timeout(
        timeout,
        subject,
        body.into(),
        call_context.deadline(),
        traceparent.as_deref().unwrap_or(call_context.traceparent()),
    );
    let result = match AssertUnwindSafe(request).catch_unwind().await {
        Ok(result) => {
            // The client may read the order log next: its read waits for this position of the journal.
            context.order_log.raise_read_floor(match &result {
                Ok(reply) => reply.journal_sequence,
                Err(RequestError::Fault(fault)) => fault.journal_sequence,
                Err(RequestError::Timeout) => None,
            });
            result
        }
        Err(_) => {
            tracing::error!(
                subject,
                "a request on the bus panicked: it may have been sent; its outcome is unknown"
            );
            Err(RequestError::Timeout)
        }
    };
    if let Some((trace, bus_context)) = trace {
        let error = result.as_ref().err().map(ToString::to_string);
        let telemetry = context.metrics.telemetry();
        trace.record_bus_request(telemetry, bus_context, subject, started_at.elapsed(), error);
    }
    result
}

/// Makes this sidecar's later reads include everything that is on the journal now. For replies that do not report their
/// own journal sequence. Ends with the time of the request.
pub(in crate::sidecar) async fn raise_read_watermark(context: &SidecarContext, call_context: &CallContext) {
    let until = context.read_deadline().min(call_context.reply_deadline());
    if let Err(fault) = context
        .order_log
        .raise_read_floor_to_journal_end(context.bus_client.bus(), until)
        .await
    {
        log_at_intervals!(warn, %fault, "the next reads may miss this change: the end of the journal is unknown");
    }
}
