//! Which brokers the router routes to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::order_terms::TimeInForce;

/// The brokers, by name and with what they can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BrokersAnswer")]
pub struct BrokerList {
    /// Their names.
    pub brokers: Vec<String>,
    /// What each of them can do, in the same order.
    pub details: Vec<BrokerDetail>,
}

/// What a broker can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerDetail {
    /// Its name.
    pub broker: String,
    /// Its venues.
    pub venues: Vec<String>,
    /// The symbols it trades.
    pub symbols: Vec<String>,
    /// How long its orders can stand.
    pub times_in_force: Vec<TimeInForce>,
}
