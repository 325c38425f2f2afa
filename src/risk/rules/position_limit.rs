//! `position_limit`: what the account would hold with every open order of that side filled has a maximum per
//! instrument, long and short; where short positions are not allowed, the short side has none.

use crate::domain::order_terms::Side;
use crate::domain::reason::ReasonCode;
use crate::risk::cap::{CapBound, CapMeasure, CapUnit};
use crate::risk::{Cap, Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "position_limit";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let instrument = input.instrument;
    let name = (instrument.venue.clone(), instrument.symbol.clone());
    let own = input
        .account_limits()
        .and_then(|account| account.max_positions.get(&name));
    let limit = *own.unwrap_or(&instrument.max_position);
    let is_barred = input.intent.side == Side::Sell && !instrument.can_short;
    // A limit that is no whole number of lots leaves no room: the settings were checked for that.
    let limit = if is_barred {
        0
    } else {
        instrument.lots(limit).unwrap_or(0)
    };
    assessment.add_cap(Cap {
        rule_id: ID,
        label: input.side_label(),
        code: ReasonCode::RiskLocked,
        measure: CapMeasure::Exposure,
        delta: input.quantity_lots,
        offset: 0,
        limit,
        bound: CapBound::Inclusive,
        unit: CapUnit::Lots(instrument.lot_size.decimal()),
        description: match input.intent.side {
            Side::Buy => "the account's long position with its open buys",
            Side::Sell => "the account's short position with its open sells",
        },
        allows_reductions: true,
    });
}
