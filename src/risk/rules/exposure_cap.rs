//! The cap on an account's exposure that several rules set, each with its own limit.

use crate::domain::order_terms::Side;
use crate::domain::quantity::QuantityUnits;
use crate::domain::reason::ReasonCode;
use crate::risk::cap::{Cap, CapBound, CapMeasure, CapUnit};
use crate::risk::rule_input::RuleInput;

/// The long exposure of an account, in messages.
pub(in crate::risk) const LONG_EXPOSURE: &str = "the account's long position with its open buys";
/// The short exposure of an account, in messages.
pub(in crate::risk) const SHORT_EXPOSURE: &str = "the account's short position with its open sells";

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
            Side::Buy => LONG_EXPOSURE,
            Side::Sell => SHORT_EXPOSURE,
        },
        allows_reductions: true,
    }
}
