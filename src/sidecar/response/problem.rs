//! Errors as answers: the problem document of the bus, with what HTTP adds.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::bus::router_client::RequestError;
use crate::domain::metadata::Metadata;
use crate::fault::{self, Fault, FaultCode};
use crate::wire::problem::{Problem, encode_problem};

/// The media type of a problem document (RFC 9457).
pub(in crate::sidecar) const PROBLEM_JSON: &str = "application/problem+json";

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

/// Returns the answer that tells of a fault.
pub(in crate::sidecar) fn fault_response(fault: &Fault) -> Response {
    response_from_body(fault.code.status(), encode_problem(fault))
}

/// Returns the answer with this problem document.
pub(in crate::sidecar) fn response_from_body(status: u16, body: Vec<u8>) -> Response {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if status == 401 {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(status, 429 | 503) {
        headers.insert(RETRY_AFTER, HeaderValue::from(fault::RETRY_AFTER.as_secs().max(1)));
    }
    response
}

/// Returns the answer to a request whose handling broke. It sent nothing to a broker: what is on its way there has an
/// answer of its own.
pub(in crate::sidecar) fn internal_error_response() -> Response {
    let problem = internal_error();
    // Strings only: there is nothing in it that JSON cannot hold.
    response_from_body(problem.status, serde_json::to_vec(&problem).unwrap_or_default())
}

/// Returns the problem of a request whose handling broke. It has no line in the table of errors: nothing ends in it by
/// intention.
pub(in crate::sidecar) fn internal_error() -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: "Internal Server Error".to_owned(),
        status: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
        detail: "the sidecar failed to handle the request; its log tells more under the request's id".to_owned(),
        code: "internal_error".to_owned(),
        field: None,
        rule_id: None,
        metadata: Metadata::new(),
        client_order_id: None,
    }
}

/// Returns the failure of a request that changes nothing at a broker: there, a missing answer may be told as one.
pub(in crate::sidecar) fn timeout_as_unavailable(error: RequestError, timeout_detail: &str) -> ProblemResponse {
    ProblemResponse(match error {
        RequestError::Fault(fault) => fault,
        RequestError::Timeout => Fault::new(FaultCode::NoWorker, timeout_detail),
    })
}
