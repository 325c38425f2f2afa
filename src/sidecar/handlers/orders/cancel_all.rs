//! `POST /orders/{broker}/cancel-all`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::symbol::Symbol;
use crate::fault::Fault;
use crate::sidecar::bus_bridge;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::OptionalJsonBody;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::cancel::parse_path_broker;
use crate::sidecar::handlers::orders::cancel_receipt::CancelReceipt;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_reference::{CancelAllReply, CancelAllRequest};
use crate::wire::strict_object::StrictObject;

/// Cancels all open orders of an account at a broker, optionally of one symbol, and returns those that remain open.
pub(in crate::sidecar) async fn cancel_all_orders(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    PathSegment(broker): PathSegment,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let broker = parse_path_broker(&broker)?;
    let (account, symbol) = decode_cancel_all(&body)?;
    principal.authorize_account(&account)?;
    let request = CancelAllRequest {
        symbol: symbol.map(|symbol| symbol.to_string()),
    };
    let (subject, body) = (subjects::cancel_all(&broker, &account), json::encode(&request));
    match bus_bridge::call(&context, &subject, body, &call_context).await {
        Ok(reply) => {
            bus_bridge::raise_read_watermark(&context, &call_context).await;
            Ok(respond_with_cancel_result(&broker, &account, reply.body))
        }
        Err(RequestError::Timeout) => {
            tracing::warn!(%broker, %account, "cancel of all orders timed out: outcome unknown");
            Ok(respond_outcome_unknown(&broker, &account))
        }
        Err(RequestError::Fault(fault)) => {
            tracing::info!(%broker, %account, code = fault.code.as_str(), "cancel of all orders refused");
            Err(fault.into())
        }
    }
}

fn decode_cancel_all(body: &[u8]) -> Result<(AccountId, Option<Symbol>), Fault> {
    if body.is_empty() {
        return Ok((AccountId::default_account(), None));
    }
    let mut object = StrictObject::from_body(body)?;
    let account = object.optional_text("account_id", AccountId::new)?;
    let symbol = object.optional_text("symbol", Symbol::parse)?;
    object.reject_unknown()?;
    Ok((account.unwrap_or_else(AccountId::default_account), symbol))
}

/// Returns the response with a worker's reply. The reply counts the orders that remain open and lists the first of them.
fn respond_with_cancel_result(broker: &BrokerId, account: &AccountId, body: Vec<u8>) -> Response {
    match serde_json::from_slice::<CancelAllReply>(&body) {
        Ok(result) => {
            let (cancelled, remaining) = (result.cancelled_total, result.remaining_total);
            tracing::info!(%broker, %account, cancelled, remaining, "cancel of all orders completed");
            json::raw_response(StatusCode::OK, body)
        }
        Err(error) => {
            tracing::error!(%error, %broker, %account, "invalid reply to a cancel of all orders: outcome unknown");
            respond_outcome_unknown(broker, account)
        }
    }
}

fn respond_outcome_unknown(broker: &BrokerId, account: &AccountId) -> Response {
    let message = "no worker replied in time: orders may have been cancelled; repeat the request";
    let receipt = CancelReceipt::for_all_orders(broker, account, message);
    json::encode_response(StatusCode::ACCEPTED, &receipt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_all_names_an_account_and_optionally_a_symbol() {
        for (body, expected) in [
            ("", Some(("default", None))),
            ("{}", Some(("default", None))),
            (r#"{"account_id":null,"symbol":null}"#, Some(("default", None))),
            (
                r#"{"account_id":"a","symbol":"btc/usdt"}"#,
                Some(("a", Some("BTCUSDT"))),
            ),
            (r#"{"account_id":"a.b"}"#, None),
            (r#"{"symbol":""}"#, None),
            (r#"{"symbol":7}"#, None),
            (r#"{"broker":"binance"}"#, None),
            (r#"{"symbol":"A","symbol":"B"}"#, None),
            ("[]", None),
            (" ", None),
        ] {
            let decoded = decode_cancel_all(body.as_bytes()).ok();
            let decoded =
                decoded.map(|(account, symbol)| (account.to_string(), symbol.map(|symbol| symbol.to_string())));
            let expected = expected.map(|(account, symbol)| (account.to_owned(), symbol.map(str::to_owned)));
            assert_eq!(decoded, expected, "{body}");
        }
    }
}
