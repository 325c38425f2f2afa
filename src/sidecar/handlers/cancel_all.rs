//! `POST /orders/{broker}/cancel-all`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::cancel::broker_of;
use super::receipt::Receipt;
use crate::bus::client::CallError;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::intent::Symbol;
use crate::fault::Fault;
use crate::sidecar::auth::Caller;
use crate::sidecar::body::OptionalJsonBody;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;
use crate::wire::object::Object;
use crate::wire::order_reference::{CancelAllAnswer, CancelAllRequest};

/// Cancels every open order of an account at a broker, or those of one symbol, and tells what remains.
pub(in crate::sidecar) async fn cancel_all(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    parameters: Parameters,
    path: Result<Path<String>, PathRejection>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let broker = broker_of(path)?;
    let (account, symbol) = decode(&body)?;
    caller.may_use(&account)?;
    let request = CancelAllRequest {
        symbol: symbol.map(|symbol| symbol.to_string()),
    };
    // Strings only: there is nothing in it that JSON cannot hold.
    let body = Bytes::from(serde_json::to_vec(&request).unwrap_or_default());
    match bridge::call(&context, &subjects::cancel_all(&broker, &account), body, &terms).await {
        Ok(reply) => {
            bridge::see_all(&context).await;
            Ok(told(&broker, &account, reply.body))
        }
        Err(CallError::Timeout) => Ok(unknown(&broker, &account)),
        Err(CallError::Fault(fault)) => {
            tracing::info!(%broker, %account, code = fault.code.as_str(), "a cancel of all orders was not taken");
            Err(fault.into())
        }
    }
}

fn decode(body: &[u8]) -> Result<(AccountId, Option<Symbol>), Fault> {
    if body.is_empty() {
        return Ok((AccountId::default_account(), None));
    }
    let mut object = Object::read(body)?;
    let account = object.optional_text("account_id", AccountId::new)?;
    let symbol = object.optional_text("symbol", Symbol::normalised)?;
    object.finish()?;
    Ok((account.unwrap_or_else(AccountId::default_account), symbol))
}

/// Makes a worker's word the answer. Orders that remain are told in it, the first 500 of them.
fn told(broker: &BrokerId, account: &AccountId, body: Vec<u8>) -> Response {
    match serde_json::from_slice::<CancelAllAnswer>(&body) {
        Ok(answer) => {
            let (cancelled, remaining) = (answer.cancelled.len(), answer.remaining.len());
            tracing::info!(%broker, %account, cancelled, remaining, "a cancel of all orders was answered");
            json::response(StatusCode::OK, body)
        }
        Err(error) => {
            tracing::error!(%error, %broker, %account, "a worker's word on cancelled orders cannot be read");
            unknown(broker, account)
        }
    }
}

fn unknown(broker: &BrokerId, account: &AccountId) -> Response {
    tracing::warn!(%broker, %account, "a cancel of all orders has no answer");
    let why = "no worker has answered in time: orders may have been cancelled; ask for all to be cancelled again";
    let receipt = Receipt::of_all(broker, account, why);
    json::response(StatusCode::ACCEPTED, receipt.encode())
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
            let read = decode(body.as_bytes()).ok();
            let read = read.map(|(account, symbol)| (account.to_string(), symbol.map(|symbol| symbol.to_string())));
            let expected = expected.map(|(account, symbol)| (account.to_owned(), symbol.map(str::to_owned)));
            assert_eq!(read, expected, "{body}");
        }
    }
}
