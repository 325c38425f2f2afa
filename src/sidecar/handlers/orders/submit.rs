//! `POST /orders`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use axum::response::Response;
use bytes::Bytes;

use crate::bus::router_client::{ReceivedReply, RequestError};
use crate::bus::subjects;
use crate::domain::id::{AccountId, ClientOrderId};
use crate::domain::intent::Intent;
use crate::domain::reason::{Reason, ReasonCode};
use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge;
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::{order_location, order_location_by_client_order_id};
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::intent::{MissingIdPolicy, decode_intent};
use crate::wire::report::ExecutionReport;

/// Marks an answer that repeats an earlier one.
pub(in crate::sidecar) const IDEMPOTENT_REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");
/// Names the order where the body does not.
const IDEMPOTENCY_KEY_HEADER: &str = "Idempotency-Key";
const CLIENT_ORDER_ID_FIELD: &str = "client_order_id";

/// Submits an order and tells what became of it.
pub(in crate::sidecar) async fn submit_order(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let (intent, body) = decode_with_client_order_id(&headers, body)?;
    let may_use = caller.authorize_account(&intent.account_id);
    may_use.map_err(|fault| fault.with_client_order_id(intent.client_order_id.as_str()))?;
    let subject = subjects::submit(&intent.broker, &intent.account_id);
    match bus_bridge::call(&context, &subject, body, &call_context).await {
        Ok(reply) => Ok(respond_with_report(&context, &intent, reply)),
        Err(RequestError::Timeout) => Ok(respond_outcome_unknown(&context, &intent)),
        Err(RequestError::Fault(mut fault)) => {
            let (client_order_id, account_id) = (&intent.client_order_id, &intent.account_id);
            tracing::info!(%client_order_id, %account_id, code = fault.code.as_str(), "an order was not taken");
            // Also where this side gave the order its id: whoever tries again does so under the same one.
            fault.client_order_id.get_or_insert_with(|| client_order_id.to_string());
            Err(fault.into())
        }
    }
}

/// Reads the intent, and returns it with the body that goes onto the bus: the client's own bytes, and in them an id where
/// the client gave none.
fn decode_with_client_order_id(headers: &HeaderMap, body: Bytes) -> Result<(Intent, Bytes), Fault> {
    let key = idempotency_key(headers)?;
    let mut intent = decode_intent(&body, MissingIdPolicy::Assign)?;
    if let Some(key) = key {
        // In an intent that has an id of its own, that counts.
        return match json::with_text_field(&body, CLIENT_ORDER_ID_FIELD, key.as_str()) {
            Some(body) => {
                intent.client_order_id = key;
                Ok((intent, body))
            }
            None => Ok((intent, body)),
        };
    }
    let body = json::with_text_field(&body, CLIENT_ORDER_ID_FIELD, intent.client_order_id.as_str()).unwrap_or(body);
    Ok((intent, body))
}

/// Returns the id that the header names the order by, where it does.
///
/// # Errors
/// `invalid_field` when it is no id, or stands twice.
pub(in crate::sidecar) fn idempotency_key(headers: &HeaderMap) -> Result<Option<ClientOrderId>, Fault> {
    let invalid =
        |rule: &dyn std::fmt::Display| Fault::for_field(FaultCode::InvalidField, IDEMPOTENCY_KEY_HEADER, rule);
    let mut values = headers.get_all(IDEMPOTENCY_KEY_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => {
            let text = only.to_str().unwrap_or_default().trim();
            let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            ClientOrderId::new(bare.unwrap_or(text))
                .map(Some)
                .map_err(|rule| invalid(&rule))
        }
        _ => Err(invalid(&"must be given once")),
    }
}

/// Makes a worker's report the answer.
fn respond_with_report(context: &SidecarContext, intent: &Intent, reply: ReceivedReply) -> Response {
    let report = match ExecutionReport::decode(&reply.body) {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(%error, client_order_id = %intent.client_order_id, "a worker's report cannot be read");
            return respond_outcome_unknown(context, intent);
        }
    };
    context.last_mode.record(report.mode);
    let status = match (report.is_unknown(), reply.is_replay) {
        (true, _) => StatusCode::ACCEPTED,
        (false, true) => StatusCode::OK,
        (false, false) => StatusCode::CREATED,
    };
    tracing::info!(
        order_id = report.order_id,
        client_order_id = report.client_order_id,
        account_id = report.account_id,
        status = report.status.as_str(),
        replayed = reply.is_replay,
        "an order was answered"
    );
    let mut response = response_with_location(status, intent, &report, reply.body);
    if reply.is_replay {
        let headers = response.headers_mut();
        headers.insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
    }
    response
}

/// Tells that the order was sent onto the bus and that nobody has said what became of it.
fn respond_outcome_unknown(context: &SidecarContext, intent: &Intent) -> Response {
    let receipt = outcome_unknown_receipt(context, intent);
    response_with_location(StatusCode::ACCEPTED, intent, &receipt, receipt.encode())
}

/// Returns the receipt of an order that was sent onto the bus and that nobody has told of.
pub(in crate::sidecar) fn outcome_unknown_receipt(context: &SidecarContext, intent: &Intent) -> ExecutionReport {
    let (client_order_id, account_id) = (&intent.client_order_id, &intent.account_id);
    tracing::warn!(%client_order_id, %account_id, "an order has no answer: what became of it is not known");
    let message = "no worker has answered in time: the order may have been sent; ask for it, or submit it again under \
                   the same client_order_id";
    let reason = Reason::new(ReasonCode::OutcomeUnknown, message);
    let mode = intent.mode.unwrap_or_else(|| context.last_mode.get());
    ExecutionReport::receipt(intent, None, mode, reason)
}

fn response_with_location(status: StatusCode, intent: &Intent, report: &ExecutionReport, body: Vec<u8>) -> Response {
    let mut response = json::raw_response(status, body);
    set_location(&mut response, report, &intent.account_id);
    response
}

/// Tells where the order of a report is found.
pub(in crate::sidecar) fn set_location(response: &mut Response, report: &ExecutionReport, account: &AccountId) {
    let location = if report.order_id.is_empty() {
        order_location_by_client_order_id(&report.client_order_id, account, &report.broker)
    } else {
        order_location(&report.order_id, account)
    };
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
