//! `stop_loss`: the account stops at a loss of the day. The caller's own figures, and its own threshold, count where they
//! are more cautious than ours.

use crate::domain::money::{Micros, Rounding};
use crate::domain::reason::ReasonCode;
use crate::risk::cap::{CapBound, CapMeasure, CapUnit};
use crate::risk::{Cap, Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "stop_loss";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let own = input.account_limits().and_then(|account| account.stop_loss);
    let ours = own.unwrap_or(input.limits.account_stop_loss);
    let theirs = input.intent.risk.stop_loss;
    // A threshold beyond what can be counted is no tighter than ours; one below a millionth is one millionth at most.
    let theirs = theirs.map(|limit| Micros::from_decimal(limit, Rounding::Down).unwrap_or(ours));
    let limit = theirs.map_or(ours, |theirs| theirs.min(ours));
    // Where it is not known, `max_daily_loss` has said so.
    let Some(loss) = input.account_loss() else { return };
    assessment.add_cap(Cap {
        rule_id: ID,
        label: loss.select_label("", "by_caller"),
        code: ReasonCode::RiskLocked,
        measure: CapMeasure::OffsetOnly,
        delta: 0,
        offset: loss.units(),
        limit: limit.units(),
        bound: CapBound::Exclusive,
        unit: CapUnit::Micros,
        description: "the account's loss",
        allows_reductions: true,
    });
}
