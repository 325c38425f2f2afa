//! Load on a router with paper orders, and its measurements.
//!
//! A closed loop sends the next order of a lane after the reply to the one before: it measures throughput at a given number
//! of orders in flight. With a rate, latency counts from the moment an order was due, so that a stall is not hidden by the
//! orders that were not sent during it.

mod lane;
pub(crate) mod measurements;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::lane::LoadLane;
pub use crate::bench::measurements::LoadMeasurements;
use crate::bus::connection::BusError;
use crate::bus::router_client::RouterClient;
use crate::bus::submission_client::SubmissionClient;
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

/// Sends the load and returns the measurements. Sides alternate in each lane, so that no position grows. Orders name the
/// mode `paper` and are refused in any other mode.
///
/// # Errors
/// When the reply inbox of the durable door cannot be opened.
pub async fn run_load(caller: &RouterClient, load: &LoadProfile) -> Result<LoadMeasurements, BusError> {
    let door = Arc::new(SubmissionClient::open(caller, load.door == LoadDoor::Durable).await?);
    let load = Arc::new(load.clone());
    let name = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let begun = Instant::now();
    let mut lanes = JoinSet::new();
    for number in 0..load.concurrency {
        let lane = LoadLane::new(Arc::clone(&door), Arc::clone(&load), &name, number);
        lanes.spawn(lane.send_until_end(begun));
    }
    let mut measured = LoadMeasurements::default();
    while let Some(lane) = lanes.join_next().await {
        match lane {
            Ok(lane) => measured.merge(&lane),
            Err(error) => tracing::error!(%error, "a lane failed: its orders are not counted"),
        }
    }
    measured.elapsed = begun.elapsed();
    Ok(measured)
}
