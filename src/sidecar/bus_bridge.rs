//! The way onto the bus: every request with its deadline, its trace and a bounded wait.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::bus::headers::{DEADLINE, TRACEPARENT};
use crate::bus::router_client::{ReceivedReply, RequestError, new_traceparent};
use crate::bus::trace_context::TraceContext;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::context::{RequestArrival, SidecarContext};
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::problem::ProblemResponse;

/// What is kept for writing the answer, of the time a request has.
const RESPONSE_MARGIN: Duration = Duration::from_millis(100);
/// How much earlier than this side the worker gives up: its own word is worth more than a guess.
const WORKER_MARGIN: Duration = Duration::from_millis(400);
/// Of a short time limit no margin takes more than this part.
const MAX_MARGIN_DIVISOR: u32 = 4;
/// How long after a client's own deadline its answer is waited for.
const CLIENT_DEADLINE_GRACE: Duration = Duration::from_millis(250);

/// What a request brings onto the bus: until when it counts, how long its answer is waited for, and its trace.
#[derive(Debug, Clone)]
pub(in crate::sidecar) struct CallContext {
    deadline: Timestamp,
    reply_deadline: Instant,
    body_deadline: Instant,
    traceparent: String,
    actor: String,
}

impl FromRequestParts<Arc<SidecarContext>> for CallContext {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<SidecarContext>) -> Result<Self, ProblemResponse> {
        let arrival = parts.extensions.get::<RequestArrival>().copied();
        // The gate gives every request its arrival.
        let arrival =
            arrival.ok_or_else(|| Fault::new(FaultCode::PersistenceFailed, "the request came past the gate"))?;
        let caller = Principal::from_request_parts(parts, context).await?;
        Ok(Self::from_headers(
            &parts.headers,
            arrival,
            &caller,
            context.request_timeout,
        )?)
    }
}

impl CallContext {
    /// Returns the terms of a request.
    ///
    /// # Errors
    /// `invalid_field` when its own deadline is no timestamp: one that is there and not understood must not count as none.
    fn from_headers(
        headers: &HeaderMap,
        arrival: RequestArrival,
        caller: &Principal,
        request_timeout: Duration,
    ) -> Result<Self, Fault> {
        let most = request_timeout / MAX_MARGIN_DIVISOR;
        let mut listen_until = arrival.received_at + (request_timeout - RESPONSE_MARGIN.min(most));
        let body_by = listen_until - WORKER_MARGIN.min(most);
        let (now, instant) = (Timestamp::now(), Instant::now());
        let mut deadline = now.saturating_add(body_by.saturating_duration_since(instant));
        if let Some(own) = client_deadline(headers)?
            && own < deadline
        {
            deadline = own;
            // One that has passed is for the worker to judge: it still tells of an order it knows.
            if own > now {
                listen_until = listen_until.min(instant + own.saturating_duration_since(now) + CLIENT_DEADLINE_GRACE);
            }
        }
        Ok(Self {
            deadline,
            reply_deadline: listen_until,
            body_deadline: body_by,
            traceparent: client_traceparent(headers).map_or_else(new_traceparent, str::to_owned),
            actor: caller.actor(arrival),
        })
    }

    /// Returns when the body must have arrived.
    pub(in crate::sidecar) fn body_deadline(&self) -> Instant {
        self.body_deadline
    }

    /// Returns until when an answer can be waited for.
    pub(in crate::sidecar) fn reply_deadline(&self) -> Instant {
        self.reply_deadline
    }

    /// Returns who sent the request, as a journal entry names it.
    pub(in crate::sidecar) fn actor(&self) -> &str {
        &self.actor
    }
}

/// Sends a request and waits for its answer.
///
/// # Errors
/// See [`CallError`].
pub(in crate::sidecar) async fn call(
    context: &SidecarContext,
    subject: &str,
    body: Bytes,
    call_context: &CallContext,
) -> Result<ReceivedReply, RequestError> {
    let patience = call_context.reply_deadline.saturating_duration_since(Instant::now());
    let caller = &context.bus_client;
    let sent = caller.request_with_timeout(
        patience,
        subject,
        body,
        call_context.deadline,
        &call_context.traceparent,
    );
    match AssertUnwindSafe(sent).catch_unwind().await {
        Ok(result) => {
            // Whoever is told of it reads it from the order log from now on.
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
                "a request on the bus panicked: whether it was sent is not known"
            );
            Err(RequestError::Timeout)
        }
    }
}

/// Has this sidecar's later reads see everything that is on the journal by now: after an answer that does not tell its
/// own place there.
pub(in crate::sidecar) async fn raise_read_watermark(context: &SidecarContext) {
    let until = context.read_deadline();
    if let Err(fault) = context
        .order_log
        .raise_read_floor_to_journal_end(context.bus_client.bus(), until)
        .await
    {
        tracing::warn!(%fault, "a read that follows may not see what was changed");
    }
}

fn client_deadline(headers: &HeaderMap) -> Result<Option<Timestamp>, Fault> {
    let invalid = |rule: &str| Fault::for_field(FaultCode::InvalidField, DEADLINE, rule);
    let mut values = headers.get_all(DEADLINE).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => {
            let text = only.to_str().unwrap_or_default();
            let deadline = Timestamp::parse(text.trim());
            deadline.map(Some).map_err(|error| invalid(&error.to_string()))
        }
        _ => Err(invalid("must be given once")),
    }
}

/// Returns the client's trace context (W3C Trace Context, version 00), if it is one.
fn client_traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    TraceContext::parse(text).map(|_| text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::sidecar::context::Peer;

    const LIMIT: Duration = Duration::from_secs(6);

    fn read(deadline: Option<&str>, limit: Duration) -> Result<CallContext, Fault> {
        let mut headers = HeaderMap::new();
        if let Some(text) = deadline {
            headers.insert(DEADLINE, HeaderValue::from_str(text).unwrap());
        }
        let peer = Peer(([127, 0, 0, 1], 1).into());
        let at = Instant::now();
        CallContext::from_headers(
            &headers,
            RequestArrival { received_at: at, peer },
            &Principal::Unrestricted,
            limit,
        )
    }

    #[test]
    fn the_worker_gives_up_before_this_side_does() {
        for limit in [Duration::from_millis(100), LIMIT] {
            let (begun, terms) = (Instant::now(), read(None, limit).unwrap());
            assert!(terms.body_deadline < terms.reply_deadline);
            assert!(terms.reply_deadline < begun + limit + Duration::from_millis(50));
            assert!(terms.deadline <= Timestamp::now().saturating_add(limit));
            assert!(terms.deadline > Timestamp::now().saturating_add(limit / 4));
        }
    }

    #[test]
    fn a_deadline_of_the_clients_own_tightens_and_never_loosens() {
        let soon = Timestamp::now().saturating_add(Duration::from_secs(1));
        let terms = read(Some(&soon.to_string()), LIMIT).unwrap();
        assert_eq!(terms.deadline, soon);
        assert!(terms.reply_deadline < Instant::now() + Duration::from_secs(2));
        let passed = read(Some("2020-01-01T00:00:00Z"), LIMIT).unwrap();
        assert_eq!(passed.deadline, Timestamp::parse("2020-01-01T00:00:00Z").unwrap());
        assert!(passed.reply_deadline > Instant::now() + Duration::from_secs(4));
        let late = read(Some("2999-01-01T00:00:00Z"), LIMIT).unwrap();
        assert!(late.deadline < Timestamp::now().saturating_add(LIMIT));
        for text in ["", "soon", "1h"] {
            assert_eq!(
                read(Some(text), LIMIT).unwrap_err().code,
                FaultCode::InvalidField,
                "{text}"
            );
        }
    }

    #[test]
    fn only_a_trace_context_is_passed_on() {
        for (text, expected) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(text));
            assert_eq!(client_traceparent(&headers).is_some(), expected, "{text}");
        }
    }
}
