//! `POST /orders/{broker}/cancel`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::bus::router_client::{ReceivedReply, RequestError};
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::bus_bridge;
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::cancel_receipt::CancelReceipt;
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_reference::{OrderReference, OrderSelector, take_order_selector};
use crate::wire::report::ExecutionReport;
use crate::wire::strict_object::StrictObject;

/// Cancels an order and tells what became of it.
pub(in crate::sidecar) async fn cancel_order(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    path: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let broker = parse_path_broker(path)?;
    let (name, account) = decode_cancel(&body)?;
    caller.authorize_account(&account)?;
    let reference = match &name {
        OrderSelector::OrderId(id) => OrderReference {
            order_id: Some(id.to_string()),
            client_order_id: None,
        },
        OrderSelector::ClientOrderId(id) => OrderReference {
            order_id: None,
            client_order_id: Some(id.to_string()),
        },
    };
    // Strings only: there is nothing in it that JSON cannot hold.
    let body = Bytes::from(serde_json::to_vec(&reference).unwrap_or_default());
    match bus_bridge::call(&context, &subjects::cancel(&broker, &account), body, &call_context).await {
        Ok(reply) => Ok(respond_with_report(&context, &name, &broker, &account, reply)),
        Err(RequestError::Timeout) => Ok(respond_outcome_unknown(&name, &broker, &account)),
        Err(RequestError::Fault(fault)) => {
            tracing::info!(%name, %broker, %account, code = fault.code.as_str(), "a cancel was not taken");
            Err(fault.into())
        }
    }
}

/// Returns the broker of a path.
///
/// # Errors
/// `unknown_broker` when it cannot be one.
pub(in crate::sidecar) fn parse_path_broker(path: Result<Path<String>, PathRejection>) -> Result<BrokerId, Fault> {
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let no_broker = |_| {
        Fault::new(
            FaultCode::UnknownBroker,
            format!("there is no broker {:?}", quoted(&text)),
        )
    };
    BrokerId::new(&text).map_err(no_broker)
}

fn decode_cancel(body: &[u8]) -> Result<(OrderSelector, AccountId), Fault> {
    let mut object = StrictObject::from_body(body)?;
    let name = take_order_selector(&mut object)?;
    let account = object.optional_text("account_id", AccountId::new)?;
    object.reject_unknown()?;
    Ok((name, account.unwrap_or_else(AccountId::default_account)))
}

/// Makes a worker's report the answer: an order that has not ended is one whose venue has not answered.
fn respond_with_report(
    context: &SidecarContext,
    name: &OrderSelector,
    broker: &BrokerId,
    account: &AccountId,
    reply: ReceivedReply,
) -> Response {
    let report = match ExecutionReport::decode(&reply.body) {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(%error, %name, "a worker's report cannot be read");
            return respond_outcome_unknown(name, broker, account);
        }
    };
    context.last_mode.record(report.mode);
    tracing::info!(%name, %broker, %account, status = report.status.as_str(), "a cancel was answered");
    let status = if report.status.is_terminal() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    json::raw_response(status, reply.body)
}

fn respond_outcome_unknown(name: &OrderSelector, broker: &BrokerId, account: &AccountId) -> Response {
    tracing::warn!(%name, %broker, %account, "a cancel has no answer");
    let why = "no worker has answered in time: the order may have been cancelled; ask for it, or cancel it again";
    let receipt = CancelReceipt::for_order(name, broker, account, why);
    json::raw_response(StatusCode::ACCEPTED, receipt.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_names_one_order_of_one_account() {
        for (body, expected) in [
            (r#"{"order_id":"BN-1"}"#, Some(("order_id BN-1", "default"))),
            (r#"{"order_id":"BN-1","account_id":"a"}"#, Some(("order_id BN-1", "a"))),
            (
                r#"{"client_order_id":"c","account_id":"a"}"#,
                Some(("client_order_id c", "a")),
            ),
            (r#"{"client_order_id":"c","order_id":"BN-1"}"#, None),
            (r#"{"account_id":"a"}"#, None),
            (r#"{"order_id":"BN-1","order_id":"BN-1"}"#, None),
            (r#"{"order_id":"BN-1","symbol":"BTCUSDT"}"#, None),
            ("[]", None),
        ] {
            let read = decode_cancel(body.as_bytes()).ok();
            let read = read.map(|(name, account)| (name.to_string(), account.to_string()));
            let expected = expected.map(|(name, account)| (name.to_owned(), account.to_owned()));
            assert_eq!(read, expected, "{body}");
        }
    }
}
