//! `POST /accounts/{account_id}/heartbeat`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::bus::subjects;
use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::signed_body::sign_as;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::heartbeat::decode_heartbeat;

const TIMEOUT_DETAIL: &str =
    "no worker replied in time: the heartbeat may have been taken, or the switch disarmed; send it again";

/// Takes a heartbeat of an account, or disarms its dead man's switch, and returns the switch's state.
pub(in crate::sidecar) async fn send_heartbeat(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    PathSegment(account): PathSegment,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let account = AccountId::new(&account);
    let account = account.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "account_id", rule))?;
    principal.authorize_account(&account)?;
    let body = sign_as(&body, call_context.actor())?;
    decode_heartbeat(&body)?;
    let reply = bus_bridge::call(&context, &subjects::heartbeat(&account), body, &call_context).await;
    let reply = reply.map_err(|error| problem::timeout_as_unavailable(error, TIMEOUT_DETAIL))?;
    Ok(json::raw_response(StatusCode::OK, reply.body))
}
