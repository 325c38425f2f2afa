//! `stop_loss`: the account stops at a loss of the day. The caller's own figures, and its own threshold, count where they
//! are more cautious than ours.

use super::cap::{Bound, Measure, Unit};
use super::{Assessment, Cap, Subject};
use crate::domain::money::{Micros, Rounding};
use crate::domain::reason::ReasonCode;

pub(super) const ID: &str = "stop_loss";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let own = subject.account().and_then(|account| account.stop_loss);
    let ours = own.unwrap_or(subject.limits.account_stop_loss);
    let theirs = subject.intent.risk.stop_loss;
    // A threshold beyond what can be counted is no tighter than ours; one below a millionth is one millionth at most.
    let theirs = theirs.map(|limit| Micros::from_decimal(limit, Rounding::Down).unwrap_or(ours));
    let limit = theirs.map_or(ours, |theirs| theirs.min(ours));
    // Where it is not known, `max_daily_loss` has said so.
    let Some(loss) = subject.account_loss() else { return };
    assessment.cap(Cap {
        rule_id: ID,
        part: loss.part("", "by_caller"),
        code: ReasonCode::RiskLocked,
        measure: Measure::Known,
        delta: 0,
        offset: loss.units(),
        limit: limit.units(),
        bound: Bound::Below,
        unit: Unit::Micros,
        what: "the account's loss",
        spares_reductions: true,
    });
}
