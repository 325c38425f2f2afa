//! `POST /orders/{broker}/cancel`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::receipt::Receipt;
use crate::bus::client::{CallError, Reply};
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::fault::{Code, Fault, quoted};
use crate::sidecar::auth::Caller;
use crate::sidecar::body::JsonBody;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;
use crate::wire::object::Object;
use crate::wire::order_reference::{OrderName, OrderReference, take_order};
use crate::wire::report::ExecutionReport;

/// Cancels an order and tells what became of it.
pub(in crate::sidecar) async fn cancel(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    parameters: Parameters,
    path: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let no_broker = || Fault::new(Code::UnknownBroker, format!("there is no broker {:?}", quoted(&text)));
    let broker = BrokerId::new(&text).map_err(|_| no_broker())?;
    let (name, account) = decode(&body)?;
    caller.may_use(&account)?;
    let reference = match &name {
        OrderName::OrderId(id) => OrderReference {
            order_id: Some(id.to_string()),
            client_order_id: None,
        },
        OrderName::ClientOrderId(id) => OrderReference {
            order_id: None,
            client_order_id: Some(id.to_string()),
        },
    };
    // Strings only: there is nothing in it that JSON cannot hold.
    let body = Bytes::from(serde_json::to_vec(&reference).unwrap_or_default());
    match bridge::call(&context, &subjects::cancel(&broker, &account), body, &terms).await {
        Ok(reply) => Ok(told(&context, &name, &broker, &account, reply)),
        Err(CallError::Timeout) => Ok(unknown(&name, &broker, &account)),
        Err(CallError::Fault(fault)) => {
            tracing::info!(%name, %broker, %account, code = fault.code.as_str(), "a cancel was not taken");
            Err(fault.into())
        }
    }
}

fn decode(body: &[u8]) -> Result<(OrderName, AccountId), Fault> {
    let mut object = Object::read(body)?;
    let name = take_order(&mut object)?;
    let account = object.optional_text("account_id", AccountId::new)?;
    object.finish()?;
    Ok((name, account.unwrap_or_else(AccountId::default_account)))
}

/// Makes a worker's report the answer: an order that has not ended is one whose venue has not answered.
fn told(context: &Context, name: &OrderName, broker: &BrokerId, account: &AccountId, reply: Reply) -> Response {
    let report = match ExecutionReport::decode(&reply.body) {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(%error, %name, "a worker's report cannot be read");
            return unknown(name, broker, account);
        }
    };
    context.mode.seen(report.mode);
    tracing::info!(%name, %broker, %account, status = report.status.as_str(), "a cancel was answered");
    let status = if report.status.is_ended() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    json::response(status, reply.body)
}

fn unknown(name: &OrderName, broker: &BrokerId, account: &AccountId) -> Response {
    tracing::warn!(%name, %broker, %account, "a cancel has no answer");
    let why = "no worker has answered in time: the order may have been cancelled; ask for it, or cancel it again";
    let receipt = Receipt::of_unanswered(name, broker, account, why);
    json::response(StatusCode::ACCEPTED, receipt.encode())
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
            let read = decode(body.as_bytes()).ok();
            let read = read.map(|(name, account)| (name.to_string(), account.to_string()));
            let expected = expected.map(|(name, account)| (name.to_owned(), account.to_owned()));
            assert_eq!(read, expected, "{body}");
        }
    }
}
