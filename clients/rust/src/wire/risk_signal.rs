//! The `RiskSignal`: an alert or a lock that risk monitors subscribe to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::content_hash::ContentHash;
use crate::domain::hex;
use crate::domain::id::{AccountId, ClientOrderId, OrderId};
use crate::domain::intent::Intent;
use crate::domain::metadata::Metadata;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::wire::schema_patterns::UtcTimestamp;

/// An alert or a lock of one risk rule, about one intent, one account or everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RiskSignal {
    /// The signal's id, a UUID.
    pub alert_id: Uuid,
    /// The id of the risk rule.
    pub rule_id: String,
    /// The level: `alert` (the order passed) or `lock` (the order was stopped).
    pub level: SignalLevel,
    /// A sentence that explains the signal to a person.
    pub message: String,
    /// The measured values, by name: the value, its limit and what else was compared.
    pub metadata: Metadata,
    /// The account that the signal is about; null if it is about all accounts.
    pub account_id: Option<String>,
    /// The normalised symbol that the signal is about; null if it is about no single symbol.
    pub symbol: Option<String>,
    /// The caller's id of the order that the signal is about; null if it is about no single order.
    pub client_order_id: Option<String>,
    /// The router's id of the order that the signal is about; null if it has none yet.
    pub order_id: Option<String>,
    /// When the rule was evaluated.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// The account, symbol and order that a signal is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignalSubject<'a> {
    /// The account; none for all accounts.
    pub account_id: Option<&'a AccountId>,
    /// The symbol; none for no single one.
    pub symbol: Option<&'a Symbol>,
    /// The caller's id of the order; none for no single one.
    pub client_order_id: Option<&'a ClientOrderId>,
    /// The router's id of the order; none before it has one.
    pub order_id: Option<&'a OrderId>,
}

impl<'a> SignalSubject<'a> {
    /// Returns the subject of a signal about an intent and its order, if it has one.
    pub fn from_intent(intent: &'a Intent, order_id: Option<&'a OrderId>) -> Self {
        Self {
            account_id: Some(&intent.account_id),
            symbol: Some(&intent.symbol),
            client_order_id: Some(&intent.client_order_id),
            order_id,
        }
    }
}

impl RiskSignal {
    /// Returns the document of a signal, with a new id and the current time.
    pub fn of(signal: &RuleSignal, subject: SignalSubject<'_>) -> Self {
        Self {
            alert_id: Uuid::now_v7(),
            rule_id: signal.rule_id.to_owned(),
            level: signal.level,
            message: signal.message.clone(),
            metadata: signal.metadata.clone(),
            account_id: subject.account_id.map(ToString::to_string),
            symbol: subject.symbol.map(ToString::to_string),
            client_order_id: subject.client_order_id.map(ToString::to_string),
            order_id: subject.order_id.map(ToString::to_string),
            timestamp: Timestamp::now(),
        }
    }

    /// Returns the document under the id of a name: whichever worker makes it, and however often, it is the same alert.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self {
            alert_id: alert_id_of(name),
            ..self
        }
    }
}

/// Returns the id of an alert's name: a UUID (version 8) of the name's hash.
fn alert_id_of(name: &str) -> Uuid {
    let digits = ContentHash::of(name.as_bytes()).0;
    let bytes = hex::decode(&digits[..32]).and_then(|bytes| bytes.try_into().ok());
    uuid::Builder::from_custom_bytes(bytes.unwrap_or_default()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_of_a_name_is_always_the_same() {
        assert_eq!(alert_id_of("a:b"), alert_id_of("a:b"));
        assert_ne!(alert_id_of("a:b"), alert_id_of("a:c"));
        assert_eq!(alert_id_of("a:b").get_version_num(), 8);
    }
}
