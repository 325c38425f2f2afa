//! `order_size`: the largest quantity of one order, per instrument.

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;

pub(super) const ID: &str = "order_size";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let (quantity, limit) = (input.intent.quantity, input.instrument.max_order_size);
    if quantity <= limit {
        return;
    }
    let symbol = &input.intent.symbol;
    evaluation.add_opening_lock(RuleSignal::lock(
        ID,
        ReasonCode::OrderSizeExceeded,
        format!("the order's quantity is {quantity}, above the limit of {limit} {symbol}"),
        Metadata::new()
            .with("value", quantity.decimal())
            .with("limit", limit.decimal()),
    ));
}
