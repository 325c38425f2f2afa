//! `order_size`: one order's quantity has a maximum per instrument.

use super::{Evaluation, RuleInput};
use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::signal::{RuleSignal, SignalLevel};

pub(super) const ID: &str = "order_size";

pub(super) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
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
