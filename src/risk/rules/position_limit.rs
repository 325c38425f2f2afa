//! `position_limit`: the largest position per instrument, long or short, that the account would hold after every open
//! order of the order's side fills. Where short positions are not allowed, the short side's limit is zero: so it is
//! for every live order, since every live venue is a spot market.

use crate::domain::order_terms::{Mode, Side};
use crate::domain::quantity::to_quantity_units;
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;
use crate::risk::rules::exposure_cap::exposure_cap;

pub(in crate::risk) const ID: &str = "position_limit";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let instrument = input.instrument;
    let key = (instrument.venue.clone(), instrument.symbol.clone());
    let account_limit = input
        .account_limits()
        .and_then(|account| account.max_positions.get(&key));
    let limit = *account_limit.unwrap_or(&instrument.max_position);
    let can_short = instrument.can_short && input.control.mode != Mode::Live;
    let limit = if input.intent.side == Side::Sell && !can_short {
        0
    } else {
        // The settings refuse a limit beyond the range of the sums; one would leave no room.
        to_quantity_units(limit.decimal()).unwrap_or(0)
    };
    evaluation.add_cap(exposure_cap(ID, input, limit));
}
