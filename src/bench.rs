//! Load on a router with paper orders, and its measurements.
//!
//! A closed loop sends the next order of a lane after the reply to the one before: it measures throughput at a given number
//! of orders in flight. With a rate, latency counts from the moment an order was due, so that a stall is not hidden by the
//! orders that were not sent during it.

mod lane;
pub(crate) mod measurements;
mod profile;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::lane::LoadLane;
pub use crate::bench::measurements::LoadMeasurements;
pub use crate::bench::profile::{LoadDoor, LoadProfile};
use crate::bus::connection::BusError;
use crate::bus::router_client::RouterClient;
use crate::bus::submission_client::SubmissionClient;

/// Sends the load and returns the measurements. Sides alternate in each lane, so that no position grows. Orders name the
/// mode `paper` and are refused in any other mode.
///
/// # Errors
/// When the reply inbox of the durable door cannot be opened.
pub async fn run_load(caller: &RouterClient, load: &LoadProfile) -> Result<LoadMeasurements, BusError> {
    let door = Arc::new(SubmissionClient::open(caller, load.door == LoadDoor::Durable).await?);
    let load = Arc::new(load.clone());
    let name = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let started_at = Instant::now();
    let mut lanes = JoinSet::new();
    for number in 0..load.concurrency {
        let lane = LoadLane::new(Arc::clone(&door), Arc::clone(&load), &name, number);
        lanes.spawn(lane.send_until_end(started_at));
    }
    let mut measurements = LoadMeasurements::default();
    while let Some(lane) = lanes.join_next().await {
        match lane {
            Ok(lane) => measurements.merge(&lane),
            Err(error) => tracing::error!(%error, "a lane failed: its orders are not counted"),
        }
    }
    measurements.elapsed = started_at.elapsed();
    Ok(measurements)
}
