//! The REST API: method and path name an operation; query string and form body carry its parameters.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request as HttpRequest, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::Value;

use crate::venue::error::VenueError;
use crate::venue::operation::Operation;
use crate::venue::parameters::{Parameters, signed_payload};
use crate::venue::server::{Peer, ResetConnection};
use crate::venue::service::request::{Answer, Reply, Request};
use crate::venue::service::state::Service;

/// The greatest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1_024;
/// The maximum time for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The header of the API key.
const KEY_HEADER: &str = "X-MBX-APIKEY";

/// The operations by method and path.
const ROUTES: &[(Method, &str, Operation)] = &[
    (Method::GET, "/api/v3/ping", Operation::Ping),
    (Method::GET, "/api/v3/time", Operation::Time),
    (Method::GET, "/api/v3/exchangeInfo", Operation::ExchangeInfo),
    (Method::GET, "/api/v3/depth", Operation::Depth),
    (Method::GET, "/api/v3/ticker/bookTicker", Operation::BookTicker),
    (Method::GET, "/api/v3/ticker/price", Operation::PriceTicker),
    (Method::POST, "/api/v3/order", Operation::Place),
    (Method::POST, "/api/v3/order/test", Operation::TestOrder),
    (Method::GET, "/api/v3/order", Operation::QueryOrder),
    (Method::DELETE, "/api/v3/order", Operation::Cancel),
    (Method::POST, "/api/v3/order/cancelReplace", Operation::CancelReplace),
    (Method::PUT, "/api/v3/order/amend/keepPriority", Operation::Amend),
    (Method::GET, "/api/v3/openOrders", Operation::OpenOrders),
    (Method::DELETE, "/api/v3/openOrders", Operation::CancelAll),
    (Method::GET, "/api/v3/allOrders", Operation::AllOrders),
    (Method::GET, "/api/v3/myTrades", Operation::MyTrades),
    (Method::GET, "/api/v3/account", Operation::Account),
    (Method::GET, "/api/v3/rateLimit/order", Operation::OrderLimits),
    (
        Method::GET,
        "/sapi/v1/account/apiRestrictions",
        Operation::KeyPermissions,
    ),
];

/// Answers every request that no other route serves.
pub async fn dispatch(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    request: HttpRequest,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let operation = match find_operation(&head.method, head.uri.path()) {
        Ok(operation) => operation,
        Err(error) => return error_response(&error),
    };
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return error_response(&VenueError::new(-1101, "The body is too large.").with_status(413)),
        Err(_) => return error_response(&VenueError::new(-1102, "The body did not arrive.").with_status(408)),
    };
    let Ok(body) = std::str::from_utf8(&body) else {
        return error_response(&VenueError::new(-1100, "Illegal characters found in a parameter."));
    };
    let query = head.uri.query().unwrap_or_default();
    let parameters = match Parameters::from_forms(query, body) {
        Ok(parameters) => parameters,
        Err(error) => return error_response(&error),
    };
    let key = head.headers.get(KEY_HEADER).and_then(|key| key.to_str().ok());
    let request = Request {
        operation,
        parameters,
        address: peer.address.ip(),
        key: key.map(str::to_owned),
        payload: signed_payload(query, body),
        session: None,
    };
    match service.handle(request).await {
        Reply::Answer(answer) => answer_response(&answer),
        Reply::Reset => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(ResetConnection);
            response
        }
    }
}

fn find_operation(method: &Method, path: &str) -> Result<Operation, VenueError> {
    let mut is_known = false;
    for (served, route, operation) in ROUTES {
        if *route == path {
            is_known = true;
            if served == method {
                return Ok(*operation);
            }
        }
    }
    let error = VenueError::unsupported();
    Err(if is_known { error.with_status(405) } else { error })
}

fn answer_response(answer: &Answer) -> Response<Body> {
    let mut response = match &answer.result {
        Ok(result) => json_response(StatusCode::OK, result),
        Err(error) => error_response(error),
    };
    let headers = response.headers_mut();
    insert(headers, "x-mbx-used-weight", answer.used_weight.into());
    insert(headers, "x-mbx-used-weight-1m", answer.used_weight.into());
    if let Some(orders) = answer.orders {
        insert(headers, "x-mbx-order-count-10s", orders.short.into());
        insert(headers, "x-mbx-order-count-1d", orders.day.into());
    }
    if let Err(VenueError {
        retry_at: Some(retry_at),
        ..
    }) = answer.result
    {
        let seconds = retry_at.saturating_sub(answer.server_time).div_ceil(1_000);
        insert(headers, RETRY_AFTER.as_str(), seconds.into());
    }
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: HeaderValue) {
    headers.insert(name, value);
}

/// Returns the response of an error.
pub fn error_response(error: &VenueError) -> Response<Body> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_response(status, &error.body())
}

/// Returns a response with a JSON body.
pub fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
