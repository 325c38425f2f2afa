//! `max_daily_notional`: the notional routed in one day has a limit over all accounts, shared by all workers, and one
//! per account where one is set.

use crate::domain::money::Micros;
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::SharedSum;
use crate::risk::cap::{CapBound, CapMeasure, CapUnit};
use crate::risk::{Cap, Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "max_daily_notional";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let of_all = input
        .control
        .daily_notional_limit
        .unwrap_or(input.limits.daily_notional);
    assessment.add_cap(daily_notional_cap(
        input,
        "",
        SharedSum::DailyNotional,
        of_all,
        "the day's routed notional",
    ));
    if let Some(own) = input.account_limits().and_then(|account| account.daily_notional) {
        let what = "the account's routed notional of the day";
        assessment.add_cap(daily_notional_cap(
            input,
            "account",
            SharedSum::AccountDailyNotional,
            own,
            what,
        ));
    }
}

fn daily_notional_cap(
    input: &RuleInput<'_>,
    label: &'static str,
    counter: SharedSum,
    limit: Micros,
    description: &'static str,
) -> Cap {
    Cap {
        rule_id: ID,
        label: label,
        code: ReasonCode::DailyNotionalExceeded,
        measure: CapMeasure::SharedSum(counter),
        delta: input.reservation.daily_notional.units(),
        offset: 0,
        limit: limit.units(),
        bound: CapBound::Inclusive,
        unit: CapUnit::Micros,
        description: description,
        allows_reductions: true,
    }
}
