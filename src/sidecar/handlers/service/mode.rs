//! `GET /mode` and `POST /mode`: the mode in the words of clients that were written before `/state`. Deprecated.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::bus::request::BusReply;
use crate::domain::order_terms::Mode;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge::EMPTY_OBJECT;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::service::state::{REASON_NOT_GIVEN, change_problem, request_change, request_state};
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::state::{RouterState, StateChangeRequest};
use crate::wire::strict_object::StrictObject;

/// A mode in the words of these operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ModeWord {
    /// Paper trading, the mode `paper`.
    Sandbox,
    /// Orders are evaluated and not sent.
    DryRun,
    /// Orders are sent to external venues.
    Live,
}

/// The mode in force, and those that these operations can set.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::sidecar) struct ExecutionMode {
    /// The mode in force; `sandbox` is the mode `paper`.
    mode: ModeWord,
    /// The modes that `POST /mode` accepts.
    allowed_modes: [ModeWord; 2],
}

/// The mode to set.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::sidecar) struct ExecutionModeUpdate {
    /// The new mode: `sandbox` or `dry_run`.
    #[schemars(extend("enum" = ["sandbox", "dry_run"]))]
    mode: String,
}

/// Returns the mode in force.
pub(in crate::sidecar) async fn get_mode(
    State(context): State<Arc<SidecarContext>>,
    call_context: CallContext,
    parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let reply = request_state(&context, &call_context, EMPTY_OBJECT).await?;
    respond_with_mode(&context, &reply)
}

/// Changes the mode and returns the one in force.
pub(in crate::sidecar) async fn change_mode(
    State(context): State<Arc<SidecarContext>>,
    call_context: CallContext,
    parameters: QueryParameters,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let request = build_change_request(&body, call_context.actor())?;
    let reply = request_change(&context, &call_context, request).await;
    respond_with_mode(&context, &reply.map_err(change_problem)?)
}

fn build_change_request(body: &[u8], actor: &str) -> Result<Bytes, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let mode = object.required_text("mode", |text| match text {
        "sandbox" => Ok(Mode::Paper),
        "dry_run" => Ok(Mode::DryRun),
        _ => Err("must be sandbox or dry_run; PUT /state sets every mode"),
    })?;
    object.reject_unknown()?;
    let request = StateChangeRequest {
        mode: Some(mode.to_string()),
        actor: Some(actor.to_owned()),
        reason: Some(REASON_NOT_GIVEN.to_owned()),
        ..StateChangeRequest::default()
    };
    Ok(json::encode(&request).into())
}

fn respond_with_mode(context: &SidecarContext, reply: &BusReply) -> Result<Response, ProblemResponse> {
    let state: RouterState = serde_json::from_slice(&reply.body).map_err(|error| {
        tracing::error!(%error, "invalid reply: a worker's state");
        Fault::new(FaultCode::NoWorker, "the worker's state is invalid; read it again")
    })?;
    context.last_mode.record(state.mode);
    let mode = match state.mode {
        Mode::Paper => ModeWord::Sandbox,
        Mode::DryRun => ModeWord::DryRun,
        Mode::Live => ModeWord::Live,
    };
    let body = ExecutionMode {
        mode,
        allowed_modes: [ModeWord::Sandbox, ModeWord::DryRun],
    };
    Ok(json::encode_response(StatusCode::OK, &body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::state::decode_state_change;

    #[test]
    fn only_the_words_of_old_clients_are_modes() {
        for (word, mode) in [("sandbox", Mode::Paper), ("dry_run", Mode::DryRun)] {
            let body = build_change_request(format!(r#"{{"mode":"{word}"}}"#).as_bytes(), "rest x").unwrap();
            let change = decode_state_change(&body).unwrap();
            assert_eq!(change.values.mode, Some(mode));
            assert_eq!(
                (change.actor.as_str(), change.reason.as_str()),
                ("rest x", REASON_NOT_GIVEN)
            );
        }
        for (body, field) in [
            (r#"{"mode":"live"}"#, "mode"),
            (r#"{"mode":"paper"}"#, "mode"),
            (r#"{"mode":7}"#, "mode"),
            ("{}", "mode"),
            (r#"{"mode":"sandbox","actor":"me"}"#, "actor"),
        ] {
            let fault = build_change_request(body.as_bytes(), "rest x").unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(field), "{body}");
        }
    }
}
