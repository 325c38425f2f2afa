//! `max_daily_notional`: the notional routed in one day has a limit over all accounts, shared by all workers.

use super::cap::Unit;
use super::{Assessment, Cap, CapLimit, Subject};
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::Counter;

pub(super) const ID: &str = "max_daily_notional";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    assessment.cap(Cap {
        rule_id: ID,
        code: ReasonCode::DailyNotionalExceeded,
        counter: Counter::DailyNotional,
        delta: subject.reservation.daily_notional.units(),
        limit: CapLimit::DailyNotional(subject.limits.daily_notional.units()),
        unit: Unit::Micros,
        what: "the day's routed notional",
    });
}
