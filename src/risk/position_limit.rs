//! `position_limit`: what the account would hold with every open order of that side filled has a maximum per
//! instrument, long and short; where short positions are not allowed, the short side has none.

use super::cap::{Bound, Measure, Unit};
use super::{Assessment, Cap, Subject};
use crate::domain::reason::ReasonCode;
use crate::domain::terms::Side;

pub(super) const ID: &str = "position_limit";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let instrument = subject.instrument;
    let name = (instrument.venue.clone(), instrument.symbol.clone());
    let own = subject.account().and_then(|account| account.max_positions.get(&name));
    let limit = *own.unwrap_or(&instrument.max_position);
    let is_barred = subject.intent.side == Side::Sell && !instrument.can_short;
    // A limit that is no whole number of lots leaves no room: the settings were checked for that.
    let limit = if is_barred {
        0
    } else {
        instrument.lots(limit).unwrap_or(0)
    };
    assessment.cap(Cap {
        rule_id: ID,
        part: subject.side_part(),
        code: ReasonCode::RiskLocked,
        measure: Measure::Exposure,
        delta: subject.lots,
        offset: 0,
        limit,
        bound: Bound::UpTo,
        unit: Unit::Lots(instrument.lot_size.decimal()),
        what: match subject.intent.side {
            Side::Buy => "the account's long position with its open buys",
            Side::Sell => "the account's short position with its open sells",
        },
        spares_reductions: true,
    });
}
