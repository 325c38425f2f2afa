//! `GET /state` and `PUT /state`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::bus::router_client::{ReceivedReply, RequestError};
use crate::bus::subjects;
use crate::domain::order_terms::{OrderStatus, TradingState};
use crate::domain::reason::{Reason, ReasonCode};
use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge;
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::state::{RouterState, decode_state_change};
use crate::wire::strict_object::StrictObject;

const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");
const TIMEOUT_DETAIL: &str = "no worker has answered in time; ask again";
const CHANGE_TIMEOUT_DETAIL: &str = "no worker has answered in time: whether the change is in force is not known; read the \
                                 state, or change it again";

/// Tells what is in force.
pub(in crate::sidecar) async fn get_state(
    State(context): State<Arc<SidecarContext>>,
    call_context: CallContext,
    parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let reply = bus_bridge::call(&context, subjects::STATE_GET, EMPTY_OBJECT, &call_context).await;
    let reply = reply.map_err(|error| problem::timeout_as_unavailable(error, TIMEOUT_DETAIL))?;
    Ok(respond_with_state(&context, reply))
}

/// Changes what is in force, and tells it.
pub(in crate::sidecar) async fn change_state(
    State(context): State<Arc<SidecarContext>>,
    call_context: CallContext,
    parameters: QueryParameters,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let (body, is_halt) = build_change_request(body, call_context.actor())?;
    let reply = match bus_bridge::call(&context, subjects::STATE_SET, body, &call_context).await {
        // Orders may have been cancelled: a 5xx would say that nothing was sent to a broker.
        Err(RequestError::Timeout) if is_halt => return Ok(respond_halt_unknown(call_context.actor())),
        // No order is sent by any other, and a change that is made twice is made once.
        reply => reply.map_err(|error| problem::timeout_as_unavailable(error, CHANGE_TIMEOUT_DETAIL))?,
    };
    tracing::info!(actor = call_context.actor(), "the state was changed");
    bus_bridge::raise_read_watermark(&context).await;
    Ok(respond_with_state(&context, reply))
}

/// Returns a request with its actor, which a client cannot name itself.
///
/// # Errors
/// `malformed` for what is no object, `unknown_field` where it names an actor.
fn with_actor(body: &Bytes, actor: &str) -> Result<Bytes, Fault> {
    const ACTOR: &str = "actor";
    StrictObject::from_body(body)?;
    let own_actor = || Fault::for_field(FaultCode::UnknownField, ACTOR, "is not a field of this request");
    json::with_text_field(body, ACTOR, actor).ok_or_else(own_actor)
}

/// Returns a request with its actor, and with the name in its path as a field that the body cannot have itself.
///
/// # Errors
/// As [`with_actor`], and `unknown_field` where the body has the field.
pub(in crate::sidecar) fn with_actor_and_field(
    body: &Bytes,
    actor: &str,
    field: &str,
    value: &str,
) -> Result<Bytes, Fault> {
    let rule = "is not a field of this request: the path names it";
    let own_name = || Fault::for_field(FaultCode::UnknownField, field, rule);
    json::with_text_field(&with_actor(body, actor)?, field, value).ok_or_else(own_name)
}

/// Returns the change with its actor, and whether it halts trading.
fn build_change_request(body: Bytes, actor: &str) -> Result<(Bytes, bool), Fault> {
    let signed = with_actor(&body, actor)?;
    let change = decode_state_change(&signed)?;
    Ok((signed, change.values.trading_state == Some(TradingState::Halted)))
}

/// What can be told of a halt that nobody has answered.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HaltReceipt")]
pub(in crate::sidecar) struct HaltReceipt {
    /// Always `unknown`.
    status: OrderStatus,
    /// Why there is no more to tell.
    reason: Reason,
}

fn respond_halt_unknown(actor: &str) -> Response {
    tracing::warn!(actor, "a halt has no answer");
    let why = "no worker has answered in time: trading may be halted, and orders may have been cancelled; read the state, \
               or halt again";
    let receipt = HaltReceipt {
        status: OrderStatus::Unknown,
        reason: Reason::new(ReasonCode::OutcomeUnknown, why),
    };
    json::encode_response(StatusCode::ACCEPTED, &receipt)
}

fn respond_with_state(context: &SidecarContext, reply: ReceivedReply) -> Response {
    if let Ok(state) = serde_json::from_slice::<RouterState>(&reply.body) {
        context.last_mode.record(state.mode);
    }
    json::raw_response(StatusCode::OK, reply.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_signed_by_us_alone() {
        let read = |text: &str| build_change_request(Bytes::copy_from_slice(text.as_bytes()), "rest 127.0.0.1:1");
        let (body, is_halt) = read(r#"{"daily_notional_limit":1.50,"reason":"r"}"#).unwrap();
        assert!(!is_halt && read(r#"{"trading_state":"halted","reason":"r"}"#).unwrap().1);
        assert_eq!(
            body,
            r#"{"actor":"rest 127.0.0.1:1","daily_notional_limit":1.50,"reason":"r"}"#
        );
        assert_eq!(decode_state_change(&body).unwrap().actor, "rest 127.0.0.1:1");
        for (text, field) in [
            (r#"{"daily_notional_limit":1,"reason":"r","actor":"me"}"#, "actor"),
            (r#"{"daily_notional_limit":1}"#, "reason"),
            (r#"{"reason":"r"}"#, "daily_notional_limit"),
            (r#"{"daily_notional_limit":0,"reason":"r"}"#, "daily_notional_limit"),
            (r#"{"daily_notional_limit":1,"reason":"r","reason":"s"}"#, "reason"),
            (r#"{"daily_notional_limit":1,"reason":"r","colour":1}"#, "colour"),
            ("{}", "reason"),
        ] {
            assert_eq!(read(text).unwrap_err().field.as_deref(), Some(field), "{text}");
        }
        assert_eq!(read("[]").unwrap_err().code, FaultCode::Malformed);
    }
}
