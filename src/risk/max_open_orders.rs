//! `max_open_orders`: how many orders of one account and symbol may be open at a time.

use super::cap::{Bound, Measure, Unit};
use super::{Assessment, Cap, Subject};
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::Counter;

pub(super) const ID: &str = "max_open_orders";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let own = subject.account().and_then(|account| account.max_open_orders);
    assessment.cap(Cap {
        rule_id: ID,
        part: "",
        code: ReasonCode::RiskLocked,
        measure: Measure::Sum(Counter::OpenOrders),
        delta: 1,
        offset: 0,
        limit: own.unwrap_or(subject.limits.max_open_orders),
        bound: Bound::UpTo,
        unit: Unit::Orders,
        what: "the account's open orders of the symbol",
        spares_reductions: false,
    });
}
