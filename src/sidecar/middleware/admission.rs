//! What every request passes: its id, its place, its own task, and the log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use axum::http::{HeaderName, Method};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use crate::fault::{Fault, FaultCode};
use crate::sidecar::context::{Peer, RequestArrival, SidecarContext};
use crate::sidecar::response::problem;
use crate::sidecar::router;

/// The header that names a request, in both directions.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a client.
const MAX_REQUEST_ID_LENGTH: usize = 64;

/// Handles a request in a task of its own: one whose client goes away is finished, and logged, all the same.
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
        tracing::error!(%error, "a request's task failed");
        problem::internal_error_response()
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

async fn handle_measured(context: Arc<SidecarContext>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let measured = context.metrics.start_request(&request, begun);
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.unwrap_or(Peer(([0, 0, 0, 0], 0).into()));
    request.extensions_mut().insert(RequestArrival {
        received_at: begun,
        peer,
    });
    let response = next.run(request).await;
    let (status, elapsed) = (response.status().as_u16(), begun.elapsed());
    measured.finish(response.status());
    match status {
        500.. => tracing::warn!(status, ?elapsed, "failed"),
        _ if changes => tracing::info!(status, ?elapsed, "answered"),
        _ => tracing::debug!(status, ?elapsed, "answered"),
    }
    response
}

/// Runs a request's handler if the request is admitted. It is behind the CORS layer, which responds to preflights: they
/// carry no key and need no place.
pub(in crate::sidecar) async fn run_admitted(
    State(context): State<Arc<SidecarContext>>,
    request: Request,
    next: Next,
) -> Response {
    match admit_request(&context, &request) {
        Ok(place) => {
            let response = catch_panic(next.run(request)).await;
            // The place is free before the response is sent: a client's next request finds it.
            drop(place);
            response
        }
        Err(fault) => problem::fault_response(&fault),
    }
}

/// Returns the answer of a handler, also of one that panics.
async fn catch_panic(handler: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(handler).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("the handler of a request panicked");
        problem::internal_error_response()
    })
}

/// Returns a request's place; the liveness check and the metrics need none.
fn admit_request(
    context: &SidecarContext,
    request: &Request,
) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, Fault> {
    // With keys, a page has to present one as everybody has: it is not enough that its visitor's browser can reach us.
    let headers = request.headers();
    if context.key_ring.is_empty() && is_from_foreign_origin(headers) && !context.cors.allows(headers) {
        let detail =
            "without API keys, pages of other origins may not use the sidecar unless http.cors_origins names them";
        return Err(Fault::new(FaultCode::NotEntitled, detail));
    }
    if [router::LIVENESS_PATH, router::METRICS_PATH].contains(&request.uri().path()) {
        return Ok(None);
    }
    let full = |_| {
        Fault::new(
            FaultCode::QueueFull,
            "the sidecar has as many requests under way as it takes; nothing was sent",
        )
    };
    Arc::clone(&context.request_permits)
        .try_acquire_owned()
        .map(Some)
        .map_err(full)
}

/// Returns the client's id of the request where it is fit for logs, and a new one otherwise.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID_LENGTH).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    let made = || HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string());
    match headers.get(REQUEST_ID).filter(is_sane) {
        Some(given) => given.clone(),
        // Hex digits make a header's value.
        None => made().unwrap_or(HeaderValue::from_static("-")),
    }
}

/// Whether a browser sends the request for a page that is not this machine's own. A page of anywhere can reach loopback
/// through its visitor's browser, and by a name that it lets point here even past the same-origin policy.
fn is_from_foreign_origin(headers: &HeaderMap) -> bool {
    // What a page asks of its own server has no origin: there, the name it was reached by gives it away.
    let named = headers
        .get(HOST)
        .map(|host| host.to_str().is_ok_and(is_loopback_authority));
    if named == Some(false) {
        return true;
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let authority = origin.to_str().ok().and_then(|text| text.split_once("://"));
    !authority.is_some_and(|(_, authority)| is_loopback_authority(authority))
}

/// Whether a name and perhaps a port are this machine's own.
fn is_loopback_authority(authority: &str) -> bool {
    let authority: Option<axum::http::uri::Authority> = authority.parse().ok();
    authority.is_some_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        let is_loopback = |ip: std::net::IpAddr| ip.to_canonical().is_loopback();
        host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem_document_too() {
        let response = catch_panic(async { panic!("as the test wants") }).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: crate::wire::problem::Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.status, problem.code.as_str()), (500, "internal_error"));
    }

    #[test]
    fn an_id_is_taken_if_it_is_sane() {
        for (given, taken) in [
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
            assert_eq!(id == given, taken, "{given}");
            assert!((1..=MAX_REQUEST_ID_LENGTH).contains(&id.len()));
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn pages_of_other_origins_stay_out() {
        for (origin, foreign) in [
            ("http://localhost:3000", false),
            ("http://127.0.0.1:8100", false),
            ("http://[::1]:8100", false),
            ("https://example.com", true),
            ("http://localhost.example.com", true),
            ("http://localhost@example.com", true),
            ("null", true),
            ("", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(is_from_foreign_origin(&headers), foreign, "{origin}");
        }
        // A name that somebody lets point here: what its page asks has no origin.
        for (host, foreign) in [
            ("127.0.0.1:8100", false),
            ("localhost", false),
            ("[::1]:8100", false),
            ("evil.example:8100", true),
            ("", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            assert_eq!(is_from_foreign_origin(&headers), foreign, "{host}");
        }
        assert!(!is_from_foreign_origin(&HeaderMap::new()));
    }
}
