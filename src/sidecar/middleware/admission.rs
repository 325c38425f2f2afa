//! Admission: every request gets an id, a task of its own, a permit, and its line in the log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HeaderMap, HeaderValue};
use axum::http::{HeaderName, Method};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use crate::fault::{Fault, FaultCode};
use crate::http::Peer;
use crate::sidecar::arrival::RequestArrival;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::paths::{LIVENESS_PATH, METRICS_PATH};
use crate::sidecar::response::problem;

/// The header with a request's id, in requests and responses.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The maximum length of a client's request id, in bytes.
const MAX_REQUEST_ID_LENGTH: usize = 64;

/// Handles a request in a task of its own, so that a request whose client disconnects is still completed and logged.
pub(in crate::sidecar) async fn handle_in_task(
    State(context): State<Arc<SidecarContext>>,
    request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers());
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
        key = tracing::field::Empty,
    );
    let task = context
        .request_tasks
        .spawn(handle_measured(Arc::clone(&context), request, next).instrument(span));
    let mut response = task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the task of a request failed");
        problem::internal_error_response()
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

async fn handle_measured(context: Arc<SidecarContext>, mut request: Request, next: Next) -> Response {
    let received_at = Instant::now();
    let is_write = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let measurement = context.metrics.start_request(&mut request, received_at);
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.unwrap_or(Peer(([0, 0, 0, 0], 0).into()));
    request.extensions_mut().insert(RequestArrival { received_at, peer });
    let response = next.run(request).await;
    let (status, elapsed) = (response.status().as_u16(), received_at.elapsed());
    measurement.finish(response.status());
    match status {
        500.. => tracing::warn!(status, ?elapsed, "request failed"),
        _ if is_write => tracing::info!(status, ?elapsed, "request completed"),
        _ => tracing::debug!(status, ?elapsed, "request completed"),
    }
    response
}

/// Runs a request's handler if the request is admitted. It is behind the CORS layer, which responds to preflights: they
/// carry no key and need no permit.
pub(in crate::sidecar) async fn run_admitted(
    State(context): State<Arc<SidecarContext>>,
    request: Request,
    next: Next,
) -> Response {
    match admit_request(&context, &request) {
        Ok(permit) => {
            let response = catch_panic(next.run(request)).await;
            // Released before the response is sent, so that the client's next request finds it.
            drop(permit);
            response
        }
        Err(fault) => problem::fault_response(&fault),
    }
}

/// Returns the handler's response. A handler that panics yields an internal error.
async fn catch_panic(handler: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(handler).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("the handler of a request panicked");
        problem::internal_error_response()
    })
}

/// Returns a request's permit, or `None` for the liveness check and the metrics, which need none.
///
/// # Errors
/// `not_entitled` for a page of a foreign origin or another name of the host, `queue_full` at the limit of requests in flight.
fn admit_request(
    context: &SidecarContext,
    request: &Request,
) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, Fault> {
    // With keys, a page needs one as any client does. Without keys, a browser that reaches the sidecar would be enough.
    let headers = request.headers();
    if context.keys.current().is_open() && !context.cors.allows(headers) {
        context.hosts.check(headers)?;
    }
    if [LIVENESS_PATH, METRICS_PATH].contains(&request.uri().path()) {
        return Ok(None);
    }
    let full = |_| {
        Fault::new(
            FaultCode::QueueFull,
            "the sidecar has reached its limit of requests in flight; nothing was sent",
        )
    };
    Arc::clone(&context.request_permits)
        .try_acquire_owned()
        .map(Some)
        .map_err(full)
}

/// Returns the client's id of the request if it is fit for logs, otherwise a new id.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_loggable = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID_LENGTH).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    let generate = || HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string());
    match headers.get(REQUEST_ID).filter(is_loggable) {
        Some(given) => given.clone(),
        // Hex digits are a valid header value.
        None => generate().unwrap_or(HeaderValue::from_static("-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_is_a_problem_document() {
        let response = catch_panic(async { panic!("the test panics") }).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: crate::wire::problem::Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.status, problem.code.as_str()), (500, "internal_error"));
    }

    #[test]
    fn client_id_is_kept_if_it_is_fit_for_logs() {
        for (given, is_kept) in [
            ("abc-1/2:3", true),
            (&*"x".repeat(64), true),
            (&*"x".repeat(65), false),
            ("", false),
            ("a b", false),
            ("tab\there", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
            let id = request_id(&headers);
            assert_eq!(id == given, is_kept, "{given}");
            assert!((1..=MAX_REQUEST_ID_LENGTH).contains(&id.len()));
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
