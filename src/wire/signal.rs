//! The `RiskSignal`: what risk monitors subscribe to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::grammar::UtcTimestamp;
use crate::domain::id::OrderId;
use crate::domain::intent::Intent;
use crate::domain::metadata::Metadata;
use crate::domain::signal::{Level, Signal};
use crate::domain::time::Timestamp;

/// One rule's word on one intent, as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RiskSignal {
    /// The signal's own id.
    pub alert_id: Uuid,
    /// The rule.
    pub rule_id: String,
    /// `alert`: the order goes on; `lock`: it stops.
    pub level: Level,
    /// A sentence for people.
    pub message: String,
    /// The figures: value, limit and what else was compared.
    pub metadata: Metadata,
    /// The account.
    pub account_id: String,
    /// The symbol.
    pub symbol: String,
    /// The caller's id of the order.
    pub client_order_id: String,
    /// The router's id of the order, once it has one.
    pub order_id: Option<String>,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

impl RiskSignal {
    /// Returns a signal as it is published.
    pub fn of(signal: &Signal, intent: &Intent, order_id: Option<&OrderId>) -> Self {
        Self {
            alert_id: Uuid::now_v7(),
            rule_id: signal.rule_id.to_owned(),
            level: signal.level,
            message: signal.message.clone(),
            metadata: signal.metadata.clone(),
            account_id: intent.account_id.to_string(),
            symbol: intent.symbol.to_string(),
            client_order_id: intent.client_order_id.to_string(),
            order_id: order_id.map(ToString::to_string),
            timestamp: Timestamp::now(),
        }
    }
}
