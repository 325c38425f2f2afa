//! The sidecar's limits on connections, and the response to a connection beyond them.

use std::time::Duration;

use crate::config::http::HttpSettings;
use crate::http::ConnectionLimits;

/// Connections beyond the requests that may be in flight: for those that are idle between two requests.
const RESTING_CONNECTIONS: usize = 1_024;
/// The maximum time for a request's head, and for a connection to be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum size of a request's head.
const MAX_HEAD_BYTES: usize = 64 * 1_024;
/// The response to a connection beyond the maximum.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
Connection: close\r\nContent-Length: 170\r\n\r\n{\"type\":\"/problems/queue_full\",\"title\":\"The router is full\",\
\"status\":503,\"detail\":\"the sidecar has as many connections as it takes; nothing was sent\",\"code\":\"queue_full\"}";

/// Returns the limits of the settings.
pub(super) fn limits(settings: &HttpSettings) -> ConnectionLimits {
    ConnectionLimits {
        max_connections: settings.max_in_flight + settings.max_event_streams + RESTING_CONNECTIONS,
        full_response: Some(FULL),
        max_head_bytes: MAX_HEAD_BYTES,
        head_timeout: HEAD_TIMEOUT,
        write_timeout: settings.write_timeout(),
        one_request_within: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::problem::Problem;

    #[test]
    fn the_full_response_is_complete() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{}",
            body.len()
        );
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!((problem.code.as_str(), problem.status), ("queue_full", 503));
    }
}
