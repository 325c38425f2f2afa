//! What a risk rule has to say about an intent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::metadata::Metadata;
use crate::domain::reason::{Reason, ReasonCode};

/// How much a signal weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Level")]
pub enum SignalLevel {
    /// Told to whoever watches; the order goes on.
    Alert,
    /// The order stops here.
    Lock,
}

impl SignalLevel {
    /// Returns the word that stands in messages and subjects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Lock => "lock",
        }
    }
}

/// One rule's word on one intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSignal {
    /// The rule's name.
    pub rule_id: &'static str,
    /// Alert or lock.
    pub level: SignalLevel,
    /// The code a caller sees when this signal is the answer.
    pub code: ReasonCode,
    /// A sentence for people.
    pub message: String,
    /// The figures: value, limit and what else was compared.
    pub metadata: Metadata,
}

impl RuleSignal {
    /// Returns the reason an order was denied for, naming the rule among its figures.
    pub fn to_reason(&self) -> Reason {
        let mut metadata = Metadata::new().with("rule_id", self.rule_id);
        for (name, figure) in self.metadata.iter() {
            metadata = metadata.with(name.to_owned(), figure.clone());
        }
        Reason {
            code: self.code,
            message: self.message.clone(),
            metadata,
        }
    }
}
