//! The signals that risk rules give on an intent.

use crate::domain::metadata::Metadata;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::word_enum::word_enum;

word_enum! {
    /// The level of a signal.
    #[schemars(rename = "Level")]
    SignalLevel {
        /// The signal is published; the order continues.
        Alert = "alert",
        /// The order is stopped.
        Lock = "lock",
    }
}

/// One rule's signal on one intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSignal {
    /// The rule's id.
    pub rule_id: &'static str,
    /// Whether the signal alerts or stops the order.
    pub level: SignalLevel,
    /// The code that the caller receives when this signal is the outcome.
    pub code: ReasonCode,
    /// A sentence for people.
    pub message: String,
    /// The measurements: value, limit and further operands of the comparison.
    pub metadata: Metadata,
}

impl RuleSignal {
    /// Returns a signal that stops the order.
    pub fn lock(rule_id: &'static str, code: ReasonCode, message: String, metadata: Metadata) -> Self {
        Self {
            rule_id,
            level: SignalLevel::Lock,
            code,
            message,
            metadata,
        }
    }

    /// Reports whether the signal stops the order.
    pub fn is_lock(&self) -> bool {
        self.level == SignalLevel::Lock
    }

    /// Returns the reason for stopping the order. Its metadata begins with the rule's id.
    pub fn to_reason(&self) -> Reason {
        let mut metadata = Metadata::new().with("rule_id", self.rule_id);
        for (name, value) in self.metadata.iter() {
            metadata = metadata.with(name.to_owned(), value.clone());
        }
        Reason {
            code: self.code,
            message: self.message.clone(),
            metadata,
        }
    }
}
