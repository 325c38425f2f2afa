//! The sidecar's limits on connections, and the response to a connection beyond them.

use std::sync::LazyLock;
use std::time::Duration;

use crate::config::http::HttpSettings;
use crate::fault::{Fault, FaultCode};
use crate::http::{ConnectionLimits, PlaceLimits};
use crate::sidecar::response::media_type::PROBLEM_JSON;
use crate::sidecar::response::problem::retry_after_seconds;
use crate::wire::problem::encode_problem;

/// Connections beyond the requests that may be in flight: for those that are idle between two requests.
const IDLE_CONNECTIONS: usize = 1_024;
/// The part of the connections that only callers with a key, and the liveness check, can use: one in this many.
const RESERVED_PART: usize = 4;
/// The part of the connections that one peer may hold before it has sent a valid key: one in this many. Further ones get
/// reserved places.
const PEER_PART: usize = 8;
/// The maximum time for a request's head, and for a connection to be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a request's head.
const MAX_HEAD_BYTES: usize = 64 * 1_024;

/// The response to a connection beyond the maximum. The connection gets no task, so hyper cannot write it.
static FULL_RESPONSE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let detail = "the sidecar has reached its connection limit; nothing was sent";
    let fault = Fault::new(FaultCode::QueueFull, detail);
    let body = encode_problem(&fault);
    let head = format!(
        "HTTP/1.1 {} Service Unavailable\r\nContent-Type: {PROBLEM_JSON}\r\nRetry-After: {}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        fault.code.status(),
        retry_after_seconds(),
        body.len()
    );
    [head.into_bytes(), body].concat()
});

/// Returns the limits of the settings.
pub(super) fn limits(settings: &HttpSettings) -> ConnectionLimits {
    let max_connections = settings.max_in_flight + settings.max_event_streams + IDLE_CONNECTIONS;
    ConnectionLimits {
        places: PlaceLimits {
            max_connections,
            max_unidentified: max_connections - max_connections / RESERVED_PART,
            max_unidentified_per_peer: max_connections / PEER_PART,
        },
        full_response: FULL_RESPONSE.as_slice(),
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
    fn full_response_is_a_complete_http_response() {
        let text = std::str::from_utf8(&FULL_RESPONSE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains("Retry-After: 1\r\n"), "{head}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!((problem.code.as_str(), problem.status), ("queue_full", 503));
    }
}
