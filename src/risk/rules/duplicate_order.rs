//! `duplicate_order`: the same account, symbol, side, quantity and price under another id a moment ago. Off unless the
//! settings name a window.

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::limits::DuplicateOrderRule;

pub(in crate::risk) const ID: &str = "duplicate_order";

/// Returns the signal of a duplicate, where the rule is on.
pub(in crate::risk) fn evaluate(rule: Option<DuplicateOrderRule>, is_duplicate: bool) -> Option<RuleSignal> {
    let rule = rule.filter(|_| is_duplicate)?;
    Some(RuleSignal {
        rule_id: ID,
        level: rule.level,
        code: ReasonCode::RiskLocked,
        message: format!(
            "an order with the same account, symbol, side, quantity and price was taken under another id within {} ms",
            rule.window_ms
        ),
        metadata: Metadata::new().with("window_ms", rule.window_ms),
    })
}
