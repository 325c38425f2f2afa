//! `POST /orders`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use axum::response::Response;
use bytes::Bytes;

use super::{location, location_by_client_id};
use crate::bus::client::{CallError, Reply};
use crate::bus::subjects;
use crate::domain::id::{AccountId, ClientOrderId};
use crate::domain::intent::Intent;
use crate::domain::reason::{Reason, ReasonCode};
use crate::fault::{Code, Fault};
use crate::sidecar::auth::Caller;
use crate::sidecar::body::JsonBody;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;
use crate::wire::intent::{MissingId, decode};
use crate::wire::report::ExecutionReport;

/// Marks an answer that repeats an earlier one.
pub(super) const IDEMPOTENT_REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");
/// Names the order where the body does not.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const CLIENT_ORDER_ID: &str = "client_order_id";

/// Submits an order and tells what became of it.
pub(in crate::sidecar) async fn submit(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    parameters: Parameters,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let (intent, body) = identified(&headers, body)?;
    let may_use = caller.may_use(&intent.account_id);
    may_use.map_err(|fault| fault.about(intent.client_order_id.as_str()))?;
    let subject = subjects::submit(&intent.broker, &intent.account_id);
    match bridge::call(&context, &subject, body, &terms).await {
        Ok(reply) => Ok(told(&context, &intent, reply)),
        Err(CallError::Timeout) => Ok(unknown(&context, &intent)),
        Err(CallError::Fault(mut fault)) => {
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
fn identified(headers: &HeaderMap, body: Bytes) -> Result<(Intent, Bytes), Fault> {
    let key = idempotency_key(headers)?;
    let mut intent = decode(&body, MissingId::Assigned)?;
    if let Some(key) = key {
        // In an intent that has an id of its own, that counts.
        return match json::with_text(&body, CLIENT_ORDER_ID, key.as_str()) {
            Some(body) => {
                intent.client_order_id = key;
                Ok((intent, body))
            }
            None => Ok((intent, body)),
        };
    }
    let body = json::with_text(&body, CLIENT_ORDER_ID, intent.client_order_id.as_str()).unwrap_or(body);
    Ok((intent, body))
}

/// Returns the id that the header names the order by, where it does.
///
/// # Errors
/// `invalid_field` when it is no id, or stands twice.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<ClientOrderId>, Fault> {
    let invalid = |rule: &dyn std::fmt::Display| Fault::field(Code::InvalidField, IDEMPOTENCY_KEY, rule);
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
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
fn told(context: &Context, intent: &Intent, reply: Reply) -> Response {
    let report = match ExecutionReport::decode(&reply.body) {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(%error, client_order_id = %intent.client_order_id, "a worker's report cannot be read");
            return unknown(context, intent);
        }
    };
    context.mode.seen(report.mode);
    let status = match (report.is_unknown(), reply.replayed) {
        (true, _) => StatusCode::ACCEPTED,
        (false, true) => StatusCode::OK,
        (false, false) => StatusCode::CREATED,
    };
    tracing::info!(
        order_id = report.order_id,
        client_order_id = report.client_order_id,
        account_id = report.account_id,
        status = report.status.as_str(),
        replayed = reply.replayed,
        "an order was answered"
    );
    let mut response = located(status, intent, &report, reply.body);
    if reply.replayed {
        let headers = response.headers_mut();
        headers.insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
    }
    response
}

/// Tells that the order was sent onto the bus and that nobody has said what became of it.
fn unknown(context: &Context, intent: &Intent) -> Response {
    let receipt = receipt(context, intent);
    located(StatusCode::ACCEPTED, intent, &receipt, receipt.encode())
}

/// Returns the receipt of an order that was sent onto the bus and that nobody has told of.
pub(super) fn receipt(context: &Context, intent: &Intent) -> ExecutionReport {
    let (client_order_id, account_id) = (&intent.client_order_id, &intent.account_id);
    tracing::warn!(%client_order_id, %account_id, "an order has no answer: what became of it is not known");
    let message = "no worker has answered in time: the order may have been sent; ask for it, or submit it again under \
                   the same client_order_id";
    let reason = Reason::new(ReasonCode::OutcomeUnknown, message);
    let mode = intent.mode.unwrap_or_else(|| context.mode.get());
    ExecutionReport::receipt(intent, None, mode, reason)
}

fn located(status: StatusCode, intent: &Intent, report: &ExecutionReport, body: Vec<u8>) -> Response {
    let mut response = json::response(status, body);
    locate(&mut response, report, &intent.account_id);
    response
}

/// Tells where the order of a report is found.
pub(super) fn locate(response: &mut Response, report: &ExecutionReport, account: &AccountId) {
    let location = if report.order_id.is_empty() {
        location_by_client_id(&report.client_order_id, account, &report.broker)
    } else {
        location(&report.order_id, account)
    };
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
