//! Why a worker could not start.

use crate::bus::BusError;
use crate::bus::topology::TopologyError;
use crate::config::listen_address::ListenAddress;
use crate::domain::id::IdError;
use crate::fault::Fault;
use crate::store::StoreError;
use crate::worker::rebuild::error::StoreRebuildError;

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No connection to NATS.
    #[error("NATS: {0}")]
    Bus(#[from] BusError),
    /// The streams of the server do not fit the settings.
    #[error("{0}")]
    Topology(#[from] TopologyError),
    /// No connection to Redis.
    #[error("Redis: {0}")]
    Store(#[from] StoreError),
    /// The shared state could not be rebuilt or checked.
    #[error("{0}")]
    StoreRebuild(#[from] StoreRebuildError),
    /// The trading day could not be opened.
    #[error("{0}")]
    Day(#[from] Fault),
    /// A setting is invalid.
    #[error("{0}")]
    Settings(String),
    /// The metrics port could not be opened.
    #[error("the worker cannot listen at metrics.addr {address}: {error}")]
    Metrics {
        /// The address of `metrics.addr`.
        address: ListenAddress,
        /// The error of the operating system.
        error: std::io::Error,
    },
}

impl From<IdError> for WorkerError {
    fn from(error: IdError) -> Self {
        Self::Settings(error.to_string())
    }
}
