//! `duplicate_order`: an order with the same account, symbol, side, quantity and price under another id within a window.
//! The rule is off unless the settings set a window.

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::cap::CapReadings;
use crate::risk::evaluation::DecisionLimits;

pub(in crate::risk) const ID: &str = "duplicate_order";

/// Returns the signal of a duplicate, where the rule is on.
pub(super) fn check(limits: &DecisionLimits, readings: &CapReadings) -> Option<RuleSignal> {
    let rule = limits.duplicates.filter(|_| readings.is_duplicate)?;
    Some(signal(rule.level, rule.window_ms))
}

/// Returns the signal of a duplicate within a window.
pub(in crate::risk) fn signal(level: SignalLevel, window_ms: i64) -> RuleSignal {
    RuleSignal {
        rule_id: ID,
        level,
        code: ReasonCode::RiskLocked,
        message: format!(
            "an order with the same account, symbol, side, quantity and price was accepted under another id within \
             {window_ms} ms"
        ),
        metadata: Metadata::new().with("window_ms", window_ms),
    }
}
