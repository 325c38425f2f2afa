//! `intent_age`: an intent is never executed at or after its deadline. The client order id stays free: a retry is
//! evaluated again.

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;

pub(super) const ID: &str = "intent_age";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let deadline = input.deadline;
    if deadline > input.now {
        return;
    }
    evaluation.add_lock(RuleSignal::lock(
        ID,
        ReasonCode::IntentExpired,
        format!("the intent's deadline was {deadline}; it was not sent. Retry with a later deadline"),
        Metadata::new().with("deadline", deadline.to_string()),
    ));
}
