//! The cap on an account's exposure that several rules set, each with its own limit.

use crate::domain::order_terms::Side;
use crate::domain::quantity::QuantityUnits;
use crate::domain::reason::ReasonCode;
use crate::risk::cap::{Cap, CapBound, CapMeasure, CapUnit};
use crate::risk::rule_input::RuleInput;

/// Returns a rule's cap on the account's exposure on the order's side. The limit is in units of 1e-8.
pub(super) fn exposure_cap(rule_id: &'static str, input: &RuleInput<'_>, limit: QuantityUnits) -> Cap {
    Cap {
        rule_id,
        label: input.side_label(),
        code: ReasonCode::RiskLocked,
        measure: CapMeasure::Exposure,
        delta: input.quantity_units,
        offset: 0,
        limit,
        bound: CapBound::Inclusive,
        unit: CapUnit::Quantity,
        description: match input.intent.side {
            Side::Buy => "the account's long position with its open buys",
            Side::Sell => "the account's short position with its open sells",
        },
        allows_reductions: true,
    }
}
