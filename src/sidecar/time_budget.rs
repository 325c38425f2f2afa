//! How the time of one request is divided between the client's body, the worker, and the response.

use std::time::Duration;

use tokio::time::Instant;

/// The time reserved for writing the response.
const RESPONSE_MARGIN: Duration = Duration::from_millis(100);
/// How much earlier than the sidecar the worker gives up: the worker's reply says more than a timeout.
const WORKER_MARGIN: Duration = Duration::from_millis(400);
/// Each margin takes at most this fraction, as a divisor, of a short request timeout.
const MAX_MARGIN_DIVISOR: u32 = 4;

/// The deadlines within one request.
#[derive(Debug, Clone, Copy)]
pub(in crate::sidecar) struct TimeBudget {
    /// When the body must have arrived, and after which a worker refuses the request.
    pub(in crate::sidecar) body_deadline: Instant,
    /// Until when the sidecar waits for the worker's reply.
    pub(in crate::sidecar) reply_deadline: Instant,
}

impl TimeBudget {
    /// Returns the deadlines of a request that arrived at `received_at`.
    pub(in crate::sidecar) fn new(received_at: Instant, request_timeout: Duration) -> Self {
        let max_margin = request_timeout / MAX_MARGIN_DIVISOR;
        let reply_deadline = received_at + (request_timeout - RESPONSE_MARGIN.min(max_margin));
        Self {
            body_deadline: reply_deadline - WORKER_MARGIN.min(max_margin),
            reply_deadline,
        }
    }
}
