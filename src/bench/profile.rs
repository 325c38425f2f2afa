//! The load to send.

use std::time::Duration;

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, VenueId};

/// The door that orders take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadDoor {
    /// The request door: request and reply.
    Request,
    /// The durable door, a work queue; an order's latency ends with its report.
    Durable,
}

/// The load to send.
#[derive(Debug, Clone)]
pub struct LoadProfile {
    /// The door.
    pub door: LoadDoor,
    /// The number of orders in flight.
    pub concurrency: u16,
    /// How long orders are sent.
    pub duration: Duration,
    /// The rate over all lanes, in orders a second; `None` sends without pauses.
    pub rate: Option<u32>,
    /// The accounts, assigned to the lanes in turn; at least one.
    pub accounts: Vec<AccountId>,
    /// The broker.
    pub broker: BrokerId,
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: String,
    /// The quantity of each order.
    pub quantity: Decimal,
    /// The limit price; `None` sends market orders.
    pub price: Option<Decimal>,
    /// The deadline of an order, from its submission.
    pub timeout: Duration,
}
