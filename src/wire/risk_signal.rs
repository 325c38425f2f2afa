//! The `RiskSignal`: what risk monitors subscribe to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::id::{AccountId, ClientOrderId, OrderId};
use crate::domain::intent::{Intent, Symbol};
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::time::Timestamp;
use crate::wire::schema_patterns::UtcTimestamp;

/// One rule's word on one intent, as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RiskSignal {
    /// The signal's own id.
    pub alert_id: Uuid,
    /// The rule.
    pub rule_id: String,
    /// `alert`: the order goes on; `lock`: it stops.
    pub level: SignalLevel,
    /// A sentence for people.
    pub message: String,
    /// The figures: value, limit and what else was compared.
    pub metadata: Metadata,
    /// The account; none where the signal concerns all.
    pub account_id: Option<String>,
    /// The symbol; none where the signal concerns no single one.
    pub symbol: Option<String>,
    /// The caller's id of the order; none where the signal concerns no single one.
    pub client_order_id: Option<String>,
    /// The router's id of the order, once it has one.
    pub order_id: Option<String>,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// What a signal is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignalSubject<'a> {
    /// The account; none for all.
    pub account_id: Option<&'a AccountId>,
    /// The symbol.
    pub symbol: Option<&'a Symbol>,
    /// The caller's id of the order.
    pub client_order_id: Option<&'a ClientOrderId>,
    /// The router's id of the order.
    pub order_id: Option<&'a OrderId>,
}

impl<'a> SignalSubject<'a> {
    /// Returns that a signal is about an intent, and about the order it would become.
    pub fn from_intent(intent: &'a Intent, order_id: Option<&'a OrderId>) -> Self {
        Self {
            account_id: Some(&intent.account_id),
            symbol: Some(&intent.symbol),
            client_order_id: Some(&intent.client_order_id),
            order_id,
        }
    }

    /// Returns that a signal is about an order.
    pub fn from_order(order: &'a Order) -> Self {
        Self {
            account_id: Some(&order.account_id),
            symbol: Some(&order.symbol),
            client_order_id: Some(&order.client_order_id),
            order_id: Some(&order.order_id),
        }
    }
}

impl RiskSignal {
    /// Returns a signal as it is published.
    pub fn of(signal: &RuleSignal, about: SignalSubject<'_>) -> Self {
        Self {
            alert_id: Uuid::now_v7(),
            rule_id: signal.rule_id.to_owned(),
            level: signal.level,
            message: signal.message.clone(),
            metadata: signal.metadata.clone(),
            account_id: about.account_id.map(ToString::to_string),
            symbol: about.symbol.map(ToString::to_string),
            client_order_id: about.client_order_id.map(ToString::to_string),
            order_id: about.order_id.map(ToString::to_string),
            timestamp: Timestamp::now(),
        }
    }
}
