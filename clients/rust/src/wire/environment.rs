//! The `EnvironmentEvent`: the environment of a live venue that the orders and positions of a broker belong to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;
use crate::wire::schema_patterns::UtcTimestamp;

/// The kind of event that records the environment of a live venue.
pub const ENVIRONMENT_EVENT_KIND: &str = "environment";

/// The environment that a broker's live orders are sent to from here on (`orders.events.environment.{broker}`). The last
/// event of a broker counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentEvent {
    /// The broker.
    pub broker: String,
    /// The environment: `production`, `testnet`, `local` for an exchange on the worker's machine, or else the base address of
    /// the venue's REST API.
    pub environment: String,
    /// The person or system that recorded it.
    pub actor: String,
    /// When it was recorded.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}
