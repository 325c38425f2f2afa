//! Load on a router with paper orders, and its measurements.
//!
//! A closed loop sends the next order of a lane after the reply to the one before: it measures throughput at a given number
//! of orders in flight. With a rate, latency counts from the moment an order was due, so that a stall is not hidden by the
//! orders that were not sent during it (coordinated omission): those that were due and never sent count with the time they
//! had waited at the end.

mod door;
mod lane;
pub(crate) mod measurements;
mod outcome;
pub(crate) mod process_usage;
mod profile;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::door::LoadDoors;
use crate::bench::lane::LoadLane;
pub use crate::bench::measurements::LoadMeasurements;
pub use crate::bench::process_usage::ProcessUsage;
pub use crate::bench::profile::{LoadDoor, LoadInstrument, LoadProfile, RestTarget};
use crate::bus::connection::BusError;
use crate::bus::router_client::RouterClient;

/// Sends the load and returns the measurements. Orders name the mode `paper` and are refused in any other mode.
///
/// # Errors
/// When the reply inbox of the durable door cannot be opened.
pub async fn run_load(caller: &RouterClient, load: &LoadProfile) -> Result<LoadMeasurements, BusError> {
    let doors = LoadDoors::open(caller, load).await?;
    Ok(run_lanes(&doors, load, load.duration).await)
}

/// Sends the load for the profile's warm-up, and discards what it measures.
///
/// # Errors
/// As [`run_load`].
pub async fn warm_up(caller: &RouterClient, load: &LoadProfile) -> Result<(), BusError> {
    if !load.warm_up.is_zero() {
        let doors = LoadDoors::open(caller, load).await?;
        run_lanes(&doors, load, load.warm_up).await;
    }
    Ok(())
}

async fn run_lanes(doors: &LoadDoors, load: &LoadProfile, duration: Duration) -> LoadMeasurements {
    let load = Arc::new(LoadProfile {
        duration,
        ..load.clone()
    });
    let name = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let started_at = Instant::now();
    let mut lanes = JoinSet::new();
    for number in 0..load.concurrency {
        let lane = LoadLane::new(doors.for_lane(), Arc::clone(&load), &name, number);
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
    measurements
}
