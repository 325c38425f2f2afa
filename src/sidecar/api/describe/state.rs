//! The state: what is in force.

use super::published;
use crate::fault::Code;
use crate::sidecar::api::operation::{Answer, Body, Description, Tag};
use crate::sidecar::handlers::state::HaltReceipt;
use crate::wire::state::{RouterState, StateChangeBody};

/// `GET /state`.
pub(in crate::sidecar) fn show() -> Description {
    let text = "Tells the mode, the trading state, and the day's figures against their limits.";
    Description::new("getState", Tag::State, "Show what is in force", text)
        .asks_worker()
        .answer(state("What is in force."))
}

/// `PUT /state`.
pub(in crate::sidecar) fn change() -> Description {
    let text = "Changes what is given, for all workers from their next order on; `halted` also cancels every open order. \
        Who changes it and why is kept on the journal.";
    Description::new("changeState", Tag::State, "Change what is in force", text)
        .asks_worker()
        .body(
            Body::of::<StateChangeBody>()
                .example("limit", r#"{"daily_notional_limit": 500000, "reason": "a quiet day"}"#)
                .example("resume", r#"{"trading_state": "active", "reason": "checked"}"#),
        )
        .answer(state("What is in force from now on.").example("halted", published!("router-state.halted")))
        .answer(Answer::json::<HaltReceipt>(
            202,
            "No worker has answered the halt in time: orders may have been cancelled; read the state, or halt again.",
        ))
        .codes(&[Code::ModeUnavailable])
}

fn state(text: &'static str) -> Answer {
    Answer::json::<RouterState>(200, text).example("default", published!("router-state.default"))
}
