//! `duplicate_order`: an order with the same account, symbol, side, quantity and price under another id within a window.
//! The rule is off unless the settings set a window.

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::cap::CapReadings;
use crate::risk::evaluation::DecisionLimits;

pub(super) const ID: &str = "duplicate_order";

/// Returns the signal of a duplicate, where the rule is on.
pub(super) fn check(limits: &DecisionLimits, readings: &CapReadings) -> Option<RuleSignal> {
    let rule = limits.duplicates.filter(|_| readings.is_duplicate)?;
    Some(RuleSignal {
        rule_id: ID,
        level: rule.level,
        code: ReasonCode::RiskLocked,
        message: format!(
            "an order with the same account, symbol, side, quantity and price was accepted under another id within \
             {} ms",
            rule.window_ms
        ),
        metadata: Metadata::new().with("window_ms", rule.window_ms),
    })
}
