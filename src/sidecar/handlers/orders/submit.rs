//! `POST /orders`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use axum::response::Response;
use bytes::Bytes;

use crate::bus::request::BusReply;
use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::domain::id::{AccountId, ClientOrderId};
use crate::domain::intent::Intent;
use crate::domain::reason::{Reason, ReasonCode};
use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::header::parse_header;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::location::{location_by_client_order_id, location_by_order_id};
use crate::sidecar::json_splice::with_text_fields;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::intent::{MissingIdPolicy, decode_intent};
use crate::wire::report::ExecutionReport;

/// Marks a response that repeats the outcome of an earlier request.
const IDEMPOTENT_REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");
/// The header with the client order id of an order whose body has none.
const IDEMPOTENCY_KEY_HEADER: &str = "Idempotency-Key";
const CLIENT_ORDER_ID_FIELD: &str = "client_order_id";

/// Submits an order and returns its report, or a receipt if the outcome is unknown.
pub(in crate::sidecar) async fn submit_order(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let (intent, body) = decode_with_client_order_id(&headers, body)?;
    let (client_order_id, account_id) = (&intent.client_order_id, &intent.account_id);
    principal
        .authorize_account(account_id)
        .map_err(|fault| fault.with_client_order_id(client_order_id.as_str()))?;
    let subject = subjects::submit(&intent.broker, account_id);
    match bus_bridge::call(&context, &subject, body, &call_context).await {
        Ok(reply) => Ok(respond_with_report(&context, &intent, reply)),
        Err(RequestError::Timeout) => Ok(respond_outcome_unknown(&context, &intent)),
        Err(RequestError::Fault(mut fault)) => {
            tracing::info!(%client_order_id, %account_id, code = fault.code.as_str(), "order refused or denied");
            // The client retries under the same id, also if the sidecar assigned it.
            fault.client_order_id.get_or_insert_with(|| client_order_id.to_string());
            Err(fault.into())
        }
    }
}

/// Decodes the intent and returns it with the request on the bus: the client's own bytes, with a client order id if the
/// client gave none.
///
/// # Errors
/// A body that breaks the grammar; `client_order_id_conflict` for an `Idempotency-Key` and a client order id that differ:
/// under an ignored key, a retry with another id would be a second order.
fn decode_with_client_order_id(headers: &HeaderMap, body: Bytes) -> Result<(Intent, Bytes), Fault> {
    let key = idempotency_key(headers)?;
    let assigned = key.clone().unwrap_or_else(ClientOrderId::generate);
    let intent = decode_intent(&body, MissingIdPolicy::Use(&assigned))?;
    if intent.client_order_id != assigned {
        return match key {
            Some(key) => Err(key_conflict_fault(&key, &intent.client_order_id)),
            None => Ok((intent, body)),
        };
    }
    // Either the body has no id and gets this one, or it has the header's id and stays as it is.
    let identified = with_text_fields(&body, &[(CLIENT_ORDER_ID_FIELD, assigned.as_str())], &[]);
    Ok((intent, identified.unwrap_or(body)))
}

fn key_conflict_fault(key: &ClientOrderId, client_order_id: &ClientOrderId) -> Fault {
    let detail = format!(
        "the header Idempotency-Key is {key} and client_order_id is {client_order_id}; nothing was sent: send one of them, or \
         the same id in both"
    );
    Fault::new(FaultCode::ClientOrderIdConflict, detail).with_client_order_id(client_order_id.as_str())
}

/// Returns the client order id of the header `Idempotency-Key`, or `None` without it.
///
/// # Errors
/// `invalid_field` if it is not a client order id, or is repeated.
pub(in crate::sidecar) fn idempotency_key(headers: &HeaderMap) -> Result<Option<ClientOrderId>, Fault> {
    parse_header(headers, IDEMPOTENCY_KEY_HEADER, |text| {
        let text = text.trim();
        let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        ClientOrderId::new(unquoted.unwrap_or(text))
    })
}

/// Returns the response with a worker's report: 201 for a new order, 200 for a known id, 202 for status `unknown`.
fn respond_with_report(context: &SidecarContext, intent: &Intent, reply: BusReply) -> Response {
    let report = match ExecutionReport::decode(&reply.body) {
        Ok(report) => report,
        Err(error) => {
            let (client_order_id, account_id) = (&intent.client_order_id, &intent.account_id);
            tracing::error!(%error, %client_order_id, %account_id, "invalid reply to an order");
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
        "order completed"
    );
    let mut response = json::raw_response(status, reply.body);
    set_location(&mut response, &report, &intent.account_id);
    if reply.is_replay {
        set_idempotent_replay(&mut response);
    }
    response
}

fn respond_outcome_unknown(context: &SidecarContext, intent: &Intent) -> Response {
    let receipt = outcome_unknown_receipt(context, intent);
    let mut response = json::raw_response(StatusCode::ACCEPTED, receipt.encode());
    set_location(&mut response, &receipt, &intent.account_id);
    response
}

/// Returns the receipt of an order that was sent on the bus and whose outcome is unknown.
pub(in crate::sidecar) fn outcome_unknown_receipt(context: &SidecarContext, intent: &Intent) -> ExecutionReport {
    let (client_order_id, account_id) = (&intent.client_order_id, &intent.account_id);
    tracing::warn!(%client_order_id, %account_id, "no valid reply to an order in time: outcome unknown");
    let message = "no worker replied in time: the order may have been sent; look it up, or submit it again with the same \
                   client_order_id";
    let reason = Reason::new(ReasonCode::OutcomeUnknown, message);
    let mode = intent.mode.unwrap_or_else(|| context.last_mode.get());
    ExecutionReport::receipt(intent, None, mode, reason)
}

/// Sets the header `Location` to the URL of a report's order.
pub(in crate::sidecar) fn set_location(response: &mut Response, report: &ExecutionReport, account: &AccountId) {
    let location = if report.order_id.is_empty() {
        location_by_client_order_id(&report.client_order_id, account, &report.broker)
    } else {
        location_by_order_id(&report.order_id, account)
    };
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
}

/// Sets the header `Idempotent-Replay`: the response repeats the outcome of an earlier request.
pub(in crate::sidecar) fn set_idempotent_replay(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
