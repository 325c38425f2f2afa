//! `order_size`: one order's quantity has a maximum per instrument.

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::{Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "order_size";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let (quantity, limit) = (input.intent.quantity, input.instrument.max_order_size);
    if quantity <= limit {
        return;
    }
    assessment.add_opening_lock(RuleSignal {
        rule_id: ID,
        level: SignalLevel::Lock,
        code: ReasonCode::OrderSizeExceeded,
        message: format!(
            "the order's quantity is {quantity}, above the limit of {limit} {}",
            input.intent.symbol
        ),
        metadata: Metadata::new()
            .with("value", quantity.decimal())
            .with("limit", limit.decimal()),
    });
}
