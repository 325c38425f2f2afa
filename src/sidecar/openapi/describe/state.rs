//! The router's state: mode, trading state, limits.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::fault::FaultCode;
use crate::sidecar::handlers::service::mode::{ExecutionMode, ExecutionModeUpdate};
use crate::sidecar::handlers::service::state::HaltReceipt;
use crate::sidecar::openapi::describe::published_example;
use crate::sidecar::openapi::operation::{OperationDescription, RequestBodyDescription, ResponseDescription};
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::openapi::tag::OperationTag;
use crate::wire::schema_patterns;
use crate::wire::state::{RouterState, StateChangeBody};

/// `GET /state`.
pub(in crate::sidecar) fn get_state() -> OperationDescription {
    let text = "Returns the mode, the trading state and the day's usage of each limit, and with `account_id` also that of these \
        accounts.";
    OperationDescription::new("getState", OperationTag::State, "Get the router's state", text)
        .calls_worker()
        .parameter(Parameter::query(
            "account_id",
            "Return the day of these accounts, too: at most 64, separated by commas or each in a parameter of its own.",
            accounts_schema,
            r#""default,fund-7""#,
        ))
        .response(state_response("The current state.").example("accounts", published_example!("router-state.accounts")))
}

/// `PUT /state`.
pub(in crate::sidecar) fn change_state() -> OperationDescription {
    let text = "Changes the given fields. All workers apply them from their next order; `halted` also cancels all open orders. \
        The actor and the reason are journaled; a reason that is absent as `not given`.";
    OperationDescription::new("changeState", OperationTag::State, "Change the router's state", text)
        .calls_worker()
        .body(
            RequestBodyDescription::new::<StateChangeBody>()
                .example("limit", r#"{"daily_notional_limit": 500000, "reason": "a quiet day"}"#)
                .example("resume", r#"{"trading_state": "active", "reason": "checked"}"#),
        )
        .response(state_response("The new state.").example("halted", published_example!("router-state.halted")))
        .response(ResponseDescription::json::<HaltReceipt>(
            202,
            "No worker replied to the halt in time. Orders may have been cancelled; read the state, or halt again.",
        ))
        .problem_codes(&[FaultCode::ModeUnavailable])
}

/// `GET /mode`.
pub(in crate::sidecar) fn get_mode() -> OperationDescription {
    let text =
        "Returns the mode in the words of older clients: `sandbox` is the mode `paper`. Use `GET /state` instead.";
    OperationDescription::new("getMode", OperationTag::State, "Get the mode", text)
        .deprecated()
        .calls_worker()
        .response(mode_response("The mode in force."))
}

/// `POST /mode`.
pub(in crate::sidecar) fn change_mode() -> OperationDescription {
    let text = "Sets the mode to `sandbox`, which is the mode `paper`, or to `dry_run`. The actor is journaled. Use \
        `PUT /state` instead.";
    OperationDescription::new("changeMode", OperationTag::State, "Change the mode", text)
        .deprecated()
        .calls_worker()
        .body(RequestBodyDescription::new::<ExecutionModeUpdate>().example("dry_run", r#"{"mode": "dry_run"}"#))
        .response(mode_response("The new mode."))
        .problem_codes(&[FaultCode::ModeUnavailable])
}

fn accounts_schema(_: &mut SchemaGenerator) -> Schema {
    let name = schema_patterns::ACCOUNT.trim_start_matches('^').trim_end_matches('$');
    json_schema!({"type": "string", "pattern": format!("^{name}(,{name})*$")})
}

fn mode_response(text: &'static str) -> ResponseDescription {
    let example = r#"{"mode": "sandbox", "allowed_modes": ["sandbox", "dry_run"]}"#;
    ResponseDescription::json::<ExecutionMode>(200, text).example("sandbox", example)
}

fn state_response(text: &'static str) -> ResponseDescription {
    ResponseDescription::json::<RouterState>(200, text).example("default", published_example!("router-state.default"))
}
