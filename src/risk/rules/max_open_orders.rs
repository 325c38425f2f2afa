//! `max_open_orders`: how many orders of one account and symbol may be open at a time.

use crate::domain::reason::ReasonCode;
use crate::domain::settlement::SharedSum;
use crate::risk::cap::{CapBound, CapMeasure, CapUnit};
use crate::risk::{Cap, Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "max_open_orders";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let own = input.account_limits().and_then(|account| account.max_open_orders);
    assessment.add_cap(Cap {
        rule_id: ID,
        label: "",
        code: ReasonCode::RiskLocked,
        measure: CapMeasure::SharedSum(SharedSum::OpenOrders),
        delta: 1,
        offset: 0,
        limit: own.unwrap_or(input.limits.max_open_orders),
        bound: CapBound::Inclusive,
        unit: CapUnit::Orders,
        description: "the account's open orders of the symbol",
        allows_reductions: false,
    });
}
