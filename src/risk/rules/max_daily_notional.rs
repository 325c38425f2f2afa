//! `max_daily_notional`: the largest notional routed in one trading day, over all accounts and all workers, and per
//! account where the account has its own limit.

use crate::domain::money::Micros;
use crate::domain::reason::ReasonCode;
use crate::risk::cap::{Cap, CapBound, CapMeasure, CapUnit};
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;

pub(in crate::risk) const ID: &str = "max_daily_notional";
/// The notional of all accounts, in messages.
pub(in crate::risk) const TOTAL: &str = "the day's routed notional";
/// The notional of an account, in messages.
pub(in crate::risk) const ACCOUNT: &str = "the account's routed notional of the day";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let total_limit = input
        .control
        .daily_notional_limit
        .unwrap_or(input.limits.daily_notional);
    evaluation.add_cap(daily_notional_cap(
        input,
        "",
        CapMeasure::TotalNotional,
        total_limit,
        TOTAL,
    ));
    if let Some(limit) = input.account_limits().and_then(|account| account.daily_notional) {
        let measure = CapMeasure::AccountNotional;
        evaluation.add_cap(daily_notional_cap(input, "account", measure, limit, ACCOUNT));
    }
}

fn daily_notional_cap(
    input: &RuleInput<'_>,
    label: &'static str,
    measure: CapMeasure,
    limit: Micros,
    description: &'static str,
) -> Cap {
    Cap {
        rule_id: ID,
        label,
        code: ReasonCode::DailyNotionalExceeded,
        measure,
        delta: input.reservation.daily_notional.units().into(),
        offset: 0,
        limit: limit.units().into(),
        bound: CapBound::Inclusive,
        unit: CapUnit::Micros,
        description,
        allows_reductions: true,
    }
}
