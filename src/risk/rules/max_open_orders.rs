//! `max_open_orders`: the most open orders per account and symbol.

use crate::domain::reason::ReasonCode;
use crate::risk::cap::{Cap, CapBound, CapMeasure, CapUnit};
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;

pub(in crate::risk) const ID: &str = "max_open_orders";
/// What the rule limits, in messages.
pub(in crate::risk) const DESCRIPTION: &str = "the account's open orders of the symbol";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    if input.is_replacement {
        // The order is counted already.
        return;
    }
    let account_limit = input.account_limits().and_then(|account| account.max_open_orders);
    evaluation.add_cap(Cap {
        rule_id: ID,
        label: "",
        code: ReasonCode::RiskLocked,
        measure: CapMeasure::OpenOrders,
        delta: 1,
        offset: 0,
        limit: account_limit.unwrap_or(input.limits.max_open_orders).into(),
        bound: CapBound::Inclusive,
        unit: CapUnit::Orders,
        description: DESCRIPTION,
        allows_reductions: false,
    });
}
