//! Why a worker could not start.

use crate::bus::BusError;
use crate::bus::topology::TopologyError;
use crate::config::limits::LimitDifference;
use crate::config::listen_address::ListenAddress;
use crate::domain::id::IdError;
use crate::fault::Fault;
use crate::store::StoreError;
use crate::worker::rebuild::error::StoreRebuildError;

/// The most limits that an error names.
const MAX_NAMED_DIFFERENCES: usize = 32;

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
    /// Other limits are in force than those of the settings.
    #[error("{0}")]
    Limits(#[from] OtherLimitsError),
    /// The metrics port could not be opened.
    #[error("the worker cannot listen at metrics.addr {address}: {error}")]
    Metrics {
        /// The address of `metrics.addr`.
        address: ListenAddress,
        /// The error of the operating system.
        error: std::io::Error,
    },
}

/// Other limits are in force than those of a worker's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherLimitsError {
    /// Every limit that differs: the value in force before, that of the settings after.
    pub differences: Vec<LimitDifference>,
}

impl std::error::Error for OtherLimitsError {}

impl std::fmt::Display for OtherLimitsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "other limits are in force than those of this worker's settings, and all workers enforce the same ones. Put the \
             limits in force into the settings (`order-router limits show`), or put those of the settings in force \
             (`order-router limits apply --actor NAME --reason TEXT`)."
        )?;
        for LimitDifference { name, before, after } in self.differences.iter().take(MAX_NAMED_DIFFERENCES) {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
            write!(
                formatter,
                "\n  - {name}: in force {}, in the settings {}",
                value(before),
                value(after)
            )?;
        }
        match self.differences.len().saturating_sub(MAX_NAMED_DIFFERENCES) {
            0 => Ok(()),
            more => write!(formatter, "\n  - and {more} more"),
        }
    }
}

impl From<IdError> for WorkerError {
    fn from(error: IdError) -> Self {
        Self::Settings(error.to_string())
    }
}
