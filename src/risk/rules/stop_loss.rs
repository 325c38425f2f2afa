//! `stop_loss`: the account opens nothing more at a loss of the day. The caller's reported loss counts where it is worse
//! than the computed one; the caller's own threshold counts where it is tighter.

use crate::domain::money::{Micros, Rounding};
use crate::domain::reason::ReasonCode;
use crate::risk::cap::{Cap, CapBound, CapMeasure, CapUnit};
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;

pub(in crate::risk) const ID: &str = "stop_loss";
/// What the rule limits, in messages.
pub(in crate::risk) const DESCRIPTION: &str = "the account's loss";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let account_limit = input.account_limits().and_then(|account| account.stop_loss);
    let general_limit = account_limit.unwrap_or(input.limits.account_stop_loss);
    // A caller's threshold too large to be counted is not tighter than ours. One below a millionth rounds down to zero:
    // an account without a profit has reached it.
    let caller_limit = input
        .intent
        .risk
        .stop_loss
        .map(|limit| Micros::from_decimal(limit, Rounding::Down).unwrap_or(general_limit));
    let limit = caller_limit.map_or(general_limit, |limit| limit.min(general_limit));
    let cap = |label, measure, loss: i64| Cap {
        rule_id: ID,
        label,
        code: ReasonCode::RiskLocked,
        measure,
        delta: 0,
        offset: loss.into(),
        limit: limit.units().into(),
        bound: CapBound::Exclusive,
        unit: CapUnit::Micros,
        description: DESCRIPTION,
        allows_reductions: true,
    };
    let computed = input.daily_pnl.account.loss_before_fills();
    evaluation.add_cap(cap("", CapMeasure::AccountFillLoss, computed));
    if let Some(reported) = input.caller_reported_loss() {
        evaluation.add_cap(cap("by_caller", CapMeasure::OffsetOnly, reported));
    }
}
