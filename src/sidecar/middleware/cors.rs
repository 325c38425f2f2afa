//! CORS: the origins whose pages may use the sidecar from a browser. Off unless the settings name some.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::sidecar::extract::header::single_header;

const ALLOWED_METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::PUT];
/// The request headers that a page may send.
const ALLOWED_HEADERS: [HeaderName; 7] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("deadline"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("traceparent"),
];
/// The response headers that a page may read, besides those that the CORS protocol always allows.
const EXPOSED_HEADERS: [HeaderName; 5] = [
    LOCATION,
    HeaderName::from_static("idempotent-replay"),
    RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
    WWW_AUTHENTICATE,
];
/// How long a browser may cache the response to a preflight.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The origins whose pages may use the sidecar.
#[derive(Debug, Clone, Default)]
pub(in crate::sidecar) struct CorsPolicy(Arc<[String]>);

impl CorsPolicy {
    /// Returns the origins of the settings.
    pub(in crate::sidecar) fn new(origins: &[String]) -> Self {
        Self(origins.into())
    }

    /// Returns whether a request comes from a page of one of these origins. A request with two `Origin` headers does not: a
    /// browser sends one.
    pub(in crate::sidecar) fn allows(&self, headers: &HeaderMap) -> bool {
        let Ok(Some(value)) = single_header(headers, ORIGIN.as_str()) else {
            return false;
        };
        self.0.iter().any(|origin| origin.as_bytes() == value.as_bytes())
    }

    /// Returns the layer that responds to preflights, which carry no key, and marks responses; `None` if there are no
    /// origins.
    pub(in crate::sidecar) fn layer(&self) -> Option<CorsLayer> {
        if self.0.is_empty() {
            return None;
        }
        let cors = self.clone();
        let is_allowed = move |_: &HeaderValue, request: &axum::http::request::Parts| cors.allows(&request.headers);
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(is_allowed))
            .allow_methods(ALLOWED_METHODS)
            .allow_headers(ALLOWED_HEADERS)
            .expose_headers(EXPOSED_HEADERS)
            .max_age(MAX_AGE)
            .vary([ORIGIN]);
        Some(layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exact_origin_of_the_settings_is_allowed() {
        let cors = CorsPolicy::new(&["https://desk.example.com".to_owned()]);
        for (origins, is_allowed) in [
            (&["https://desk.example.com"][..], true),
            (&[], false),
            (&["https://desk.example.com", "https://desk.example.com"], false),
            (&["https://desk.example.com", "https://evil.example"], false),
            (&["https://DESK.example.com"], false),
            (&["http://desk.example.com"], false),
            (&["https://desk.example.com:8443"], false),
            (&["null"], false),
            (&["*"], false),
        ] {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(cors.allows(&headers), is_allowed, "{origins:?}");
        }
        assert!(CorsPolicy::new(&[]).layer().is_none());
    }
}
