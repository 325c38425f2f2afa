//! `POST /orders/{broker}/cancel`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::bus::request::BusReply;
use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::bus_bridge;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::cancel_receipt::CancelReceipt;
use crate::sidecar::handlers::orders::lookup;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_reference::{OrderSelector, take_order_selector};
use crate::wire::report::ExecutionReport;
use crate::wire::strict_object::StrictObject;

/// Cancels an order and returns its report, or a receipt if the outcome is unknown.
pub(in crate::sidecar) async fn cancel_order(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    PathSegment(broker): PathSegment,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let broker = parse_path_broker(&broker)?;
    let (order, account) = decode_cancel(&body)?;
    let account = match (account, &order) {
        (None, OrderSelector::OrderId(id)) => {
            let found = lookup::find_order(&context, &call_context, &principal, &broker, id.clone()).await;
            found?.1
        }
        (account, _) => {
            let account = account.unwrap_or_else(AccountId::default_account);
            principal.authorize_account(&account)?;
            account
        }
    };
    let request = json::encode(&lookup::reference_to(&order));
    let subject = subjects::cancel(&broker, Some(&account));
    match bus_bridge::call(&context, &subject, request, &call_context).await {
        Ok(reply) => Ok(respond_with_report(&context, &order, &broker, &account, reply)),
        Err(RequestError::Timeout) => {
            tracing::warn!(%order, %broker, %account, "cancel timed out: outcome unknown");
            Ok(respond_outcome_unknown(&order, &broker, &account))
        }
        Err(RequestError::Fault(fault)) => {
            tracing::info!(%order, %broker, %account, code = fault.code.as_str(), "cancel refused");
            Err(fault.into())
        }
    }
}

/// Returns the broker of a path.
///
/// # Errors
/// `unknown_broker` if the text cannot be a broker's id.
pub(super) fn parse_path_broker(text: &str) -> Result<BrokerId, Fault> {
    BrokerId::new(text).map_err(|_| {
        let detail = format!("unknown broker {:?}", quoted(text));
        Fault::new(FaultCode::UnknownBroker, detail)
    })
}

fn decode_cancel(body: &[u8]) -> Result<(OrderSelector, Option<AccountId>), Fault> {
    let mut object = StrictObject::from_body(body)?;
    let order = take_order_selector(&mut object)?;
    let account = object.optional_text("account_id", AccountId::new)?;
    object.reject_unknown()?;
    Ok((order, account))
}

/// Returns the response with a worker's report: 200 for an order with a final status, 202 while the venue has not
/// confirmed the cancel.
fn respond_with_report(
    context: &SidecarContext,
    order: &OrderSelector,
    broker: &BrokerId,
    account: &AccountId,
    reply: BusReply,
) -> Response {
    let report = match ExecutionReport::decode(&reply.body) {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(%error, %order, %broker, %account, "invalid reply to a cancel: outcome unknown");
            return respond_outcome_unknown(order, broker, account);
        }
    };
    context.last_mode.record(report.mode);
    tracing::info!(%order, %broker, %account, status = report.status.as_str(), "cancel completed");
    let status = if report.status.is_terminal() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    json::raw_response(status, reply.body)
}

fn respond_outcome_unknown(order: &OrderSelector, broker: &BrokerId, account: &AccountId) -> Response {
    let message = "no worker replied in time: the order may have been cancelled; look it up, or cancel it again";
    let receipt = CancelReceipt::for_order(order, broker, account, message);
    json::encode_response(StatusCode::ACCEPTED, &receipt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_names_one_order_and_at_most_one_account() {
        for (body, expected) in [
            (r#"{"order_id":"BN-1"}"#, Some(("order_id BN-1", None))),
            (
                r#"{"order_id":"BN-1","account_id":"a"}"#,
                Some(("order_id BN-1", Some("a"))),
            ),
            (
                r#"{"client_order_id":"c","account_id":"a"}"#,
                Some(("client_order_id c", Some("a"))),
            ),
            (r#"{"order_id":"BN-1","account_id":"_"}"#, None),
            (r#"{"client_order_id":"c","order_id":"BN-1"}"#, None),
            (r#"{"account_id":"a"}"#, None),
            (r#"{"order_id":"BN-1","order_id":"BN-1"}"#, None),
            (r#"{"order_id":"BN-1","symbol":"BTCUSDT"}"#, None),
            ("[]", None),
        ] {
            let decoded = decode_cancel(body.as_bytes()).ok();
            let decoded =
                decoded.map(|(order, account)| (order.to_string(), account.map(|account| account.to_string())));
            let expected = expected.map(|(order, account)| (order.to_owned(), account.map(str::to_owned)));
            assert_eq!(decoded, expected, "{body}");
        }
    }
}
