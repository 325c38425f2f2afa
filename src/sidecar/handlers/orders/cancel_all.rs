//! `POST /orders/{broker}/cancel-all`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::intent::Symbol;
use crate::fault::Fault;
use crate::sidecar::bus_bridge;
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::OptionalJsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::cancel::parse_path_broker;
use crate::sidecar::handlers::orders::cancel_receipt::CancelReceipt;
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_reference::{CancelAllReply, CancelAllRequest};
use crate::wire::strict_object::StrictObject;

/// Cancels every open order of an account at a broker, or those of one symbol, and tells what remains.
pub(in crate::sidecar) async fn cancel_all_orders(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    path: Result<Path<String>, PathRejection>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let broker = parse_path_broker(path)?;
    let (account, symbol) = decode_cancel_all(&body)?;
    caller.authorize_account(&account)?;
    let request = CancelAllRequest {
        symbol: symbol.map(|symbol| symbol.to_string()),
    };
    // Strings only: there is nothing in it that JSON cannot hold.
    let body = Bytes::from(serde_json::to_vec(&request).unwrap_or_default());
    match bus_bridge::call(&context, &subjects::cancel_all(&broker, &account), body, &call_context).await {
        Ok(reply) => {
            bus_bridge::raise_read_watermark(&context).await;
            Ok(respond_with_cancel_result(&broker, &account, reply.body))
        }
        Err(RequestError::Timeout) => Ok(respond_outcome_unknown(&broker, &account)),
        Err(RequestError::Fault(fault)) => {
            tracing::info!(%broker, %account, code = fault.code.as_str(), "a cancel of all orders was not taken");
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

/// Makes a worker's word the answer. Orders that remain are told in it, the first 500 of them.
fn respond_with_cancel_result(broker: &BrokerId, account: &AccountId, body: Vec<u8>) -> Response {
    match serde_json::from_slice::<CancelAllReply>(&body) {
        Ok(answer) => {
            let (cancelled, remaining) = (answer.cancelled.len(), answer.remaining.len());
            tracing::info!(%broker, %account, cancelled, remaining, "a cancel of all orders was answered");
            json::raw_response(StatusCode::OK, body)
        }
        Err(error) => {
            tracing::error!(%error, %broker, %account, "a worker's word on cancelled orders cannot be read");
            respond_outcome_unknown(broker, account)
        }
    }
}

fn respond_outcome_unknown(broker: &BrokerId, account: &AccountId) -> Response {
    tracing::warn!(%broker, %account, "a cancel of all orders has no answer");
    let why = "no worker has answered in time: orders may have been cancelled; ask for all to be cancelled again";
    let receipt = CancelReceipt::for_all_orders(broker, account, why);
    json::raw_response(StatusCode::ACCEPTED, receipt.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_of_all_names_an_account_and_perhaps_a_symbol() {
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
            let read = decode_cancel_all(body.as_bytes()).ok();
            let read = read.map(|(account, symbol)| (account.to_string(), symbol.map(|symbol| symbol.to_string())));
            let expected = expected.map(|(account, symbol)| (account.to_owned(), symbol.map(str::to_owned)));
            assert_eq!(read, expected, "{body}");
        }
    }
}
