//! `stop_loss`: the account opens nothing more at a loss of the day. The caller's reported loss counts where it is worse
//! than the computed one; the caller's own threshold counts where it is tighter.

use crate::domain::money::{Micros, Rounding};
use crate::domain::reason::ReasonCode;
use crate::risk::cap::{Cap, CapBound, CapMeasure, CapUnit};
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;

pub(super) const ID: &str = "stop_loss";

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
    // An unknown loss is `max_daily_loss`'s to report.
    let Some(loss) = input.account_loss() else { return };
    evaluation.add_cap(Cap {
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
