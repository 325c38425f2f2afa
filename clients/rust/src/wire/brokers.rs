//! The list of brokers that the router routes to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::order_terms::{Mode, TimeInForce};

/// The brokers that the router routes to, with their capabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BrokersAnswer")]
pub struct BrokerList {
    /// The brokers' names, each of 1-64 characters of `[A-Za-z0-9_-]`.
    pub brokers: Vec<String>,
    /// The brokers' capabilities, in the order of `brokers`.
    pub details: Vec<BrokerDetail>,
}

/// The capabilities of one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerDetail {
    /// The broker's name.
    pub broker: String,
    /// The broker's venues, each of 1-64 characters of `[A-Za-z0-9_.-]`.
    pub venues: Vec<String>,
    /// The normalised symbols that the broker trades.
    pub symbols: Vec<String>,
    /// The times in force that the broker accepts.
    pub times_in_force: Vec<TimeInForce>,
    /// The modes in which the broker takes orders: `paper`, and `live` where the settings allow it.
    #[serde(default)]
    pub modes: Vec<Mode>,
}
