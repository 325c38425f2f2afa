//! `max_daily_notional`: the notional routed in one day has a limit over all accounts, shared by all workers, and one
//! per account where one is set.

use super::cap::{Bound, Measure, Unit};
use super::{Assessment, Cap, Subject};
use crate::domain::money::Micros;
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::Counter;

pub(super) const ID: &str = "max_daily_notional";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let of_all = subject
        .control
        .daily_notional_limit
        .unwrap_or(subject.limits.daily_notional);
    assessment.cap(cap(
        subject,
        "",
        Counter::DailyNotional,
        of_all,
        "the day's routed notional",
    ));
    if let Some(own) = subject.account().and_then(|account| account.daily_notional) {
        let what = "the account's routed notional of the day";
        assessment.cap(cap(subject, "account", Counter::AccountDailyNotional, own, what));
    }
}

fn cap(subject: &Subject<'_>, part: &'static str, counter: Counter, limit: Micros, what: &'static str) -> Cap {
    Cap {
        rule_id: ID,
        part,
        code: ReasonCode::DailyNotionalExceeded,
        measure: Measure::Sum(counter),
        delta: subject.reservation.daily_notional.units(),
        offset: 0,
        limit: limit.units(),
        bound: Bound::UpTo,
        unit: Unit::Micros,
        what,
        spares_reductions: true,
    }
}
