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
    let caller_limit = input.intent.risk.stop_loss;
    let exact_limit = caller_limit.map_or(general_limit.decimal(), |limit| limit.min(general_limit.decimal()));
    // A computed loss is a whole number of millionths: it is below the limit where it is below the limit rounded up.
    let limit = Micros::from_decimal(exact_limit, Rounding::Up).unwrap_or(general_limit);
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
        // Rounded so that it is below the rounded limit where the exact loss is below the exact limit, and only there.
        let rounding = match reported.is_below(exact_limit) {
            true => Rounding::Down,
            false => Rounding::Up,
        };
        evaluation.add_cap(cap("by_caller", CapMeasure::OffsetOnly, reported.to_micros(rounding)));
    }
}
