//! Errors as responses: the problem document of the bus, with the headers that HTTP adds.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::bus::router_client::RequestError;
use crate::domain::metadata::Metadata;
use crate::fault::{self, Fault, FaultCode};
use crate::sidecar::response::json;
use crate::sidecar::response::media_type::PROBLEM_JSON;
use crate::wire::problem::{Problem, encode_problem};

/// A request that ends in a problem document.
#[derive(Debug)]
pub(in crate::sidecar) struct ProblemResponse(pub(in crate::sidecar) Fault);

impl From<Fault> for ProblemResponse {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        fault_response(&self.0)
    }
}

/// A request that the sidecar failed to handle, and the reason for its log.
#[derive(Debug)]
pub(in crate::sidecar) struct InternalError(pub(in crate::sidecar) &'static str);

impl IntoResponse for InternalError {
    fn into_response(self) -> Response {
        tracing::error!(reason = self.0, "a request failed inside the sidecar");
        internal_error_response()
    }
}

/// Returns a fault's response.
pub(in crate::sidecar) fn fault_response(fault: &Fault) -> Response {
    response_from_body(fault.code.status(), encode_problem(fault))
}

/// Returns the response with an encoded problem document.
pub(in crate::sidecar) fn response_from_body(status: u16, body: Vec<u8>) -> Response {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if status == 401 {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(status, 429 | 503) {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_seconds()));
    }
    response
}

/// Returns the value of `Retry-After`, in seconds, at least 1.
pub(in crate::sidecar) fn retry_after_seconds() -> u64 {
    fault::RETRY_AFTER.as_secs().max(1)
}

/// Returns the response to a request that the sidecar failed to handle. Such a request sent nothing to a broker: a
/// request that was sent on the bus gets a 202 instead.
pub(in crate::sidecar) fn internal_error_response() -> Response {
    let problem = internal_error();
    response_from_body(problem.status, json::encode(&problem))
}

/// Returns the problem of a request that the sidecar failed to handle. The table of fault codes does not list it, since
/// no code path returns it on purpose.
pub(in crate::sidecar) fn internal_error() -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: "Internal Server Error".to_owned(),
        status: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
        detail: "the sidecar failed to process the request; see its log for the request id".to_owned(),
        code: "internal_error".to_owned(),
        field: None,
        rule_id: None,
        metadata: Metadata::new(),
        client_order_id: None,
    }
}

/// Returns the failure of a request that changes nothing at a broker: only there may a missing reply become a 503.
pub(in crate::sidecar) fn timeout_as_unavailable(error: RequestError, timeout_detail: &str) -> ProblemResponse {
    ProblemResponse(match error {
        RequestError::Fault(fault) => fault,
        RequestError::Timeout => Fault::new(FaultCode::NoWorker, timeout_detail),
    })
}
