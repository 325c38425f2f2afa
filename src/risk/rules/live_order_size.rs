//! `live_order_size`: the largest notional of one live order. Without a limit no live order opens anything: the settings
//! require one where live orders are allowed.

use crate::domain::metadata::Metadata;
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;

pub(super) const ID: &str = "live_order_size";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    if input.control.mode != Mode::Live {
        return;
    }
    let notional = input.reservation.notional;
    let limit = input.limits.live_order_notional;
    if limit.is_some_and(|limit| notional <= limit) {
        return;
    }
    let limit = limit.unwrap_or(Micros::ZERO);
    evaluation.add_opening_lock(RuleSignal::lock(
        ID,
        ReasonCode::OrderSizeExceeded,
        format!("the live order's notional is {notional}, above the limit of {limit} (risk.max_live_order_notional)"),
        Metadata::new()
            .with("value", notional.decimal())
            .with("limit", limit.decimal()),
    ));
}
