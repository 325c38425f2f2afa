//! What a REST request hands to its request on the bus: deadlines, trace and actor.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::bus::headers::DEADLINE;
use crate::bus::router_client::new_traceparent;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::sidecar::arrival::RequestArrival;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::header::parse_header;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::request_trace::{RequestTrace, client_trace};
use crate::sidecar::response::problem;
use crate::sidecar::time_budget::TimeBudget;

/// How long after the client's own deadline the sidecar still waits for the reply.
const CLIENT_DEADLINE_GRACE: Duration = Duration::from_millis(250);

/// The deadlines, the trace and the actor of one REST request, sent with its request on the bus.
#[derive(Debug, Clone)]
pub(in crate::sidecar) struct CallContext {
    deadline: Timestamp,
    reply_deadline: Instant,
    traceparent: String,
    trace: Option<RequestTrace>,
    actor: String,
}

impl FromRequestParts<Arc<SidecarContext>> for CallContext {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<SidecarContext>) -> Result<Self, Response> {
        let arrival = RequestArrival::from_request_parts(parts, context).await;
        let arrival = arrival.map_err(IntoResponse::into_response)?;
        let principal = Principal::from_request_parts(parts, context).await;
        let principal = principal.map_err(IntoResponse::into_response)?;
        let trace = parts.extensions.get::<RequestTrace>().copied();
        Self::from_headers(&parts.headers, arrival, &principal, context.request_timeout)
            .map(|context| Self { trace, ..context })
            .map_err(|fault| problem::fault_response(&fault))
    }
}

impl CallContext {
    /// Returns the context of a request.
    ///
    /// # Errors
    /// `invalid_field` if the client's `Deadline` is not a timestamp: an unreadable deadline must not count as none.
    fn from_headers(
        headers: &HeaderMap,
        arrival: RequestArrival,
        principal: &Principal,
        request_timeout: Duration,
    ) -> Result<Self, Fault> {
        let budget = TimeBudget::new(arrival.received_at, request_timeout);
        let mut reply_deadline = budget.reply_deadline;
        let (now, instant) = (Timestamp::now(), Instant::now());
        let mut deadline = now.saturating_add(budget.body_deadline.saturating_duration_since(instant));
        let client_deadline = parse_header(headers, DEADLINE, |text| Timestamp::parse(text.trim()))?;
        if let Some(client_deadline) = client_deadline
            && client_deadline < deadline
        {
            deadline = client_deadline;
            // The worker decides about a deadline that has passed: it still returns the report of a known order.
            if client_deadline > now {
                let wait = client_deadline.saturating_duration_since(now) + CLIENT_DEADLINE_GRACE;
                reply_deadline = reply_deadline.min(instant + wait);
            }
        }
        Ok(Self {
            deadline,
            reply_deadline,
            traceparent: client_trace(headers).map_or_else(new_traceparent, |trace| trace.to_string()),
            trace: None,
            actor: principal.actor(arrival),
        })
    }

    /// Returns the time after which a worker refuses the request.
    pub(in crate::sidecar) fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Returns until when the sidecar waits for the reply.
    pub(in crate::sidecar) fn reply_deadline(&self) -> Instant {
        self.reply_deadline
    }

    /// Returns the trace of the REST request; `None` where requests are not traced.
    pub(in crate::sidecar) fn trace(&self) -> Option<RequestTrace> {
        self.trace
    }

    /// Returns the trace context of a request that is not traced: the client's, or a new one.
    pub(in crate::sidecar) fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Returns the actor that a journal entry names for the sender.
    pub(in crate::sidecar) fn actor(&self) -> &str {
        &self.actor
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::bus::headers::TRACEPARENT;
    use crate::fault::FaultCode;
    use crate::http::Peer;

    const TIMEOUT: Duration = Duration::from_millis(4_500);

    fn context_of(deadline: Option<&str>, request_timeout: Duration) -> Result<CallContext, Fault> {
        let mut headers = HeaderMap::new();
        if let Some(text) = deadline {
            headers.insert(DEADLINE, HeaderValue::from_str(text).unwrap());
        }
        let peer = Peer(([127, 0, 0, 1], 1).into());
        let received_at = Instant::now();
        let arrival = RequestArrival { received_at, peer };
        CallContext::from_headers(&headers, arrival, &Principal::Unrestricted, request_timeout)
    }

    #[test]
    fn worker_gives_up_before_the_sidecar_does() {
        for timeout in [Duration::from_millis(100), TIMEOUT] {
            let (started, context) = (Instant::now(), context_of(None, timeout).unwrap());
            let budget = TimeBudget::new(started, timeout);
            assert!(budget.body_deadline < budget.reply_deadline);
            assert!(context.reply_deadline >= budget.reply_deadline);
            assert!(context.reply_deadline < started + timeout + Duration::from_millis(50));
            assert!(context.deadline <= Timestamp::now().saturating_add(timeout));
            assert!(context.deadline > Timestamp::now().saturating_add(timeout / 4));
        }
    }

    #[test]
    fn client_deadline_shortens_and_never_extends() {
        let soon = Timestamp::now().saturating_add(Duration::from_secs(1));
        let context = context_of(Some(&soon.to_string()), TIMEOUT).unwrap();
        assert_eq!(context.deadline, soon);
        assert!(context.reply_deadline < Instant::now() + Duration::from_secs(2));
        let passed = context_of(Some("2020-01-01T00:00:00Z"), TIMEOUT).unwrap();
        assert_eq!(passed.deadline, Timestamp::parse("2020-01-01T00:00:00Z").unwrap());
        assert!(passed.reply_deadline > Instant::now() + Duration::from_secs(3));
        let late = context_of(Some("2999-01-01T00:00:00Z"), TIMEOUT).unwrap();
        assert!(late.deadline < Timestamp::now().saturating_add(TIMEOUT));
        for text in ["", "soon", "1h", "20261129T005130Z", "2026-11-29T00:51:30+25:00"] {
            let fault = context_of(Some(text), TIMEOUT).unwrap_err();
            assert_eq!(fault.code, FaultCode::InvalidField, "{text}");
        }
    }

    #[test]
    fn only_a_valid_trace_context_is_forwarded() {
        for (text, is_valid) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(text));
            assert_eq!(client_trace(&headers).is_some(), is_valid, "{text}");
        }
    }
}
