//! The state: what is in force.

use crate::fault::FaultCode;
use crate::sidecar::handlers::service::state::HaltReceipt;
use crate::sidecar::openapi::describe::published;
use crate::sidecar::openapi::operation::{
    OperationDescription, OperationTag, RequestBodyDescription, ResponseDescription,
};
use crate::wire::state::{RouterState, StateChangeBody};

/// `GET /state`.
pub(in crate::sidecar) fn get_state() -> OperationDescription {
    let text = "Tells the mode, the trading state, and the day's figures against their limits.";
    OperationDescription::new("getState", OperationTag::State, "Show what is in force", text)
        .calls_worker()
        .response(state_response("What is in force."))
}

/// `PUT /state`.
pub(in crate::sidecar) fn change_state() -> OperationDescription {
    let text = "Changes what is given, for all workers from their next order on; `halted` also cancels every open order. \
        Who changes it and why is kept on the journal.";
    OperationDescription::new("changeState", OperationTag::State, "Change what is in force", text)
        .calls_worker()
        .body(
            RequestBodyDescription::new::<StateChangeBody>()
                .example("limit", r#"{"daily_notional_limit": 500000, "reason": "a quiet day"}"#)
                .example("resume", r#"{"trading_state": "active", "reason": "checked"}"#),
        )
        .response(state_response("What is in force from now on.").example("halted", published!("router-state.halted")))
        .response(ResponseDescription::json::<HaltReceipt>(
            202,
            "No worker has answered the halt in time: orders may have been cancelled; read the state, or halt again.",
        ))
        .problem_codes(&[FaultCode::ModeUnavailable])
}

fn state_response(text: &'static str) -> ResponseDescription {
    ResponseDescription::json::<RouterState>(200, text).example("default", published!("router-state.default"))
}
