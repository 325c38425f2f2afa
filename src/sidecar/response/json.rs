//! JSON responses, and JSON bodies of requests on the bus.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::sidecar::response::media_type::APPLICATION_JSON;

/// Returns a value's JSON. Values are documents of strings and exact numbers, for which encoding cannot fail.
pub(in crate::sidecar) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Returns a response with a JSON text as its body.
pub(in crate::sidecar) fn raw_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(APPLICATION_JSON));
    response
}

/// Returns a response with a value's JSON as its body.
pub(in crate::sidecar) fn encode_response(status: StatusCode, value: &impl Serialize) -> Response {
    raw_response(status, encode(value))
}
