//! `GET /state` and `PUT /state`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::bus::request::BusReply;
use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::domain::id::AccountId;
use crate::domain::order_terms::{OrderStatus, TradingState};
use crate::domain::reason::{Reason, ReasonCode};
use crate::fault::Fault;
use crate::sidecar::bus_bridge::{self, READ_TIMEOUT_DETAIL};
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::signed_body::sign;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::state::{RouterState, StateGetRequest, decode_state_change};

/// What a change without a reason records as its reason.
pub(super) const REASON_NOT_GIVEN: &str = "not given";
const REASON_FIELD: &str = "reason";
const CHANGE_TIMEOUT_DETAIL: &str =
    "no worker replied in time: the change may be active; read the state, or repeat the change";

/// Returns the mode, the trading state, and the day's usage of each limit; that of single accounts where the request names
/// them.
pub(in crate::sidecar) async fn get_state(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    mut parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    let accounts = parameters.take_list("account_id", AccountId::new)?;
    parameters.reject_remaining()?;
    for account in &accounts {
        principal.authorize_account(account)?;
    }
    let accounts = accounts.iter().map(ToString::to_string).collect();
    let body = json::encode(&StateGetRequest { accounts }).into();
    let reply = request_state(&context, &call_context, body).await?;
    Ok(respond_with_state(&context, reply))
}

/// Requests the state from a worker.
///
/// # Errors
/// `no_worker` if no worker replies in time, and the faults of [`bus_bridge::call`].
pub(super) async fn request_state(
    context: &SidecarContext,
    call_context: &CallContext,
    body: Bytes,
) -> Result<BusReply, ProblemResponse> {
    let reply = bus_bridge::call(context, subjects::STATE_GET, body, call_context).await;
    reply.map_err(|error| problem::timeout_as_unavailable(error, READ_TIMEOUT_DETAIL))
}

/// Changes the router's state and returns the new state.
pub(in crate::sidecar) async fn change_state(
    State(context): State<Arc<SidecarContext>>,
    call_context: CallContext,
    parameters: QueryParameters,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let (body, is_halt) = build_change_request(&body, call_context.actor())?;
    match request_change(&context, &call_context, body).await {
        // Orders may have been cancelled, and a 5xx would claim that nothing was sent to a broker.
        Err(RequestError::Timeout) if is_halt => Ok(respond_halt_unknown(call_context.actor())),
        reply => Ok(respond_with_state(&context, reply.map_err(change_problem)?)),
    }
}

/// Requests a change of the state from a worker. Later reads of this sidecar's order log include the change.
///
/// # Errors
/// As [`bus_bridge::call`].
pub(super) async fn request_change(
    context: &SidecarContext,
    call_context: &CallContext,
    body: Bytes,
) -> Result<BusReply, RequestError> {
    let reply = bus_bridge::call(context, subjects::STATE_SET, body, call_context).await?;
    tracing::info!(actor = call_context.actor(), "state changed");
    bus_bridge::raise_read_watermark(context, call_context).await;
    Ok(reply)
}

/// Returns the failure of a change other than a halt: it sends nothing to a broker, and repeating it has no further effect.
pub(super) fn change_problem(error: RequestError) -> ProblemResponse {
    problem::timeout_as_unavailable(error, CHANGE_TIMEOUT_DETAIL)
}

/// Returns the request on the bus, and whether it halts trading.
fn build_change_request(body: &[u8], actor: &str) -> Result<(Bytes, bool), Fault> {
    let signed = sign(body, actor, (REASON_FIELD, REASON_NOT_GIVEN))?;
    let change = decode_state_change(&signed)?;
    Ok((signed, change.values.trading_state == Some(TradingState::Halted)))
}

/// The response to a halt that received no reply in time.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HaltReceipt")]
pub(in crate::sidecar) struct HaltReceipt {
    /// Always `unknown`.
    status: OrderStatus,
    /// Why the outcome is unknown.
    reason: Reason,
}

fn respond_halt_unknown(actor: &str) -> Response {
    tracing::warn!(actor, "halt timed out: outcome unknown");
    let message =
        "no worker replied in time: trading may be halted and orders cancelled; read the state, or halt again";
    let receipt = HaltReceipt {
        status: OrderStatus::Unknown,
        reason: Reason::new(ReasonCode::OutcomeUnknown, message),
    };
    json::encode_response(StatusCode::ACCEPTED, &receipt)
}

fn respond_with_state(context: &SidecarContext, reply: BusReply) -> Response {
    if let Ok(state) = serde_json::from_slice::<RouterState>(&reply.body) {
        context.last_mode.record(state.mode);
    }
    json::raw_response(StatusCode::OK, reply.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    #[test]
    fn change_is_signed_by_the_sidecar_only() {
        let request = |text: &str| build_change_request(text.as_bytes(), "rest 127.0.0.1:1");
        let (body, is_halt) = request(r#"{"daily_notional_limit":1.50,"reason":"r"}"#).unwrap();
        assert!(!is_halt && request(r#"{"trading_state":"halted","reason":"r"}"#).unwrap().1);
        assert_eq!(
            body,
            r#"{"actor":"rest 127.0.0.1:1","daily_notional_limit":1.50,"reason":"r"}"#
        );
        assert_eq!(decode_state_change(&body).unwrap().actor, "rest 127.0.0.1:1");
        for text in [
            r#"{"daily_notional_limit":1}"#,
            r#"{"daily_notional_limit":1,"reason":null}"#,
        ] {
            let change = decode_state_change(&request(text).unwrap().0).unwrap();
            assert_eq!(change.reason, REASON_NOT_GIVEN, "{text}");
        }
        for (text, field) in [
            (r#"{"daily_notional_limit":1,"reason":"r","actor":"me"}"#, "actor"),
            (r#"{"daily_notional_limit":1,"reason":""}"#, "reason"),
            (r#"{"reason":"r"}"#, "daily_notional_limit"),
            (r#"{"daily_notional_limit":0,"reason":"r"}"#, "daily_notional_limit"),
            (r#"{"daily_notional_limit":1,"reason":"r","reason":"s"}"#, "reason"),
            (r#"{"daily_notional_limit":1,"reason":"r","colour":1}"#, "colour"),
            ("{}", "daily_notional_limit"),
        ] {
            assert_eq!(request(text).unwrap_err().field.as_deref(), Some(field), "{text}");
        }
        assert_eq!(request("[]").unwrap_err().code, FaultCode::Malformed);
    }
}
