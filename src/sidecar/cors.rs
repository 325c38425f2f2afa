//! CORS: which pages of other origins may use the sidecar from a browser. Off unless the settings name some.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use axum::http::{Method, Response as HttpResponse, StatusCode};
use axum::response::Response;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT");
/// What a page may send.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, Deadline, X-Request-Id, Last-Event-ID, Traceparent",
);
/// What a page may read beside what every page may.
const RESPONSE_HEADERS: HeaderValue =
    HeaderValue::from_static("Location, Idempotent-Replay, Retry-After, X-Request-Id, WWW-Authenticate");
/// How long a browser may remember what it was told, in seconds.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");
/// The answer is another for another page.
const VARIES: HeaderValue = HeaderValue::from_static("Origin");

/// The origins whose pages may use the sidecar.
#[derive(Debug, Default)]
pub(super) struct Cors(Vec<String>);

impl Cors {
    /// Returns the origins of the settings.
    pub(super) fn new(origins: &[String]) -> Self {
        Self(origins.to_vec())
    }

    /// Returns the page's origin, where it is one of those that may.
    pub(super) fn allowed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut values = headers.get_all(ORIGIN).iter();
        let (Some(only), None) = (values.next(), values.next()) else {
            return None;
        };
        self.0
            .iter()
            .any(|known| known.as_bytes() == only.as_bytes())
            .then_some(only)
    }

    /// Answers what a browser asks before it sends a page's request; that question carries no key.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let is_asked = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_asked || self.allowed(headers).is_none() {
            return None;
        }
        let mut response = HttpResponse::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let told = response.headers_mut();
        told.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        told.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        told.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        Some(response)
    }

    /// Tells a browser whether the page may read the answer.
    pub(super) fn mark(&self, allowed: Option<HeaderValue>, response: &mut Response) {
        if self.0.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(VARY, VARIES);
        if let Some(origin) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
        }
    }
}
