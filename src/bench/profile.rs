//! The load to send.

use std::time::Duration;

use crate::config::nats::Secret;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, VenueId};
use crate::domain::symbol::Symbol;

/// The door that orders take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadDoor {
    /// The request door: request and reply.
    Request,
    /// The durable door, a work queue; an order's latency ends with its report.
    Durable,
    /// REST: `POST /orders`, one kept connection for each order in flight.
    Rest,
}

/// An instrument that orders trade.
#[derive(Debug, Clone)]
pub struct LoadInstrument {
    /// The broker.
    pub broker: BrokerId,
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// The quantity of each order.
    pub quantity: Decimal,
    /// The limit price; `None` sends market orders.
    pub price: Option<Decimal>,
}

/// The sidecar of a load over REST.
#[derive(Debug, Clone, Default)]
pub struct RestTarget {
    /// Its host and port.
    pub authority: String,
    /// The API key, where it requires one.
    pub api_key: Option<Secret>,
}

/// The load to send. Orders take turns through accounts and instruments; the sides of each pair alternate, so that no
/// position grows.
#[derive(Debug, Clone)]
pub struct LoadProfile {
    /// The door.
    pub door: LoadDoor,
    /// The sidecar, for [`LoadDoor::Rest`].
    pub rest: RestTarget,
    /// The number of orders in flight.
    pub concurrency: u16,
    /// How long orders are sent.
    pub duration: Duration,
    /// How long orders are sent before, without being measured.
    pub warm_up: Duration,
    /// The rate over all lanes, in orders a second; `None` sends without pauses.
    pub rate: Option<u32>,
    /// The accounts; at least one.
    pub accounts: Vec<AccountId>,
    /// The instruments; at least one.
    pub instruments: Vec<LoadInstrument>,
    /// The deadline of an order, from its submission.
    pub timeout: Duration,
}
