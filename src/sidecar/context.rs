//! What every request shares.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::alerts::Alerts;
use super::measures::Measures;
use crate::bus::client::Caller;
use crate::bus::connection::Bus;
use crate::config::http::HttpSettings;
use crate::domain::terms::Mode;
use crate::telemetry::Telemetry;

/// The way to the bus, and how much may be under way at a time.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) caller: Caller,
    pub(super) measures: Measures,
    pub(super) request_timeout: Duration,
    pub(super) places: Arc<Semaphore>,
    pub(super) requests: TaskTracker,
    pub(super) mode: LastMode,
    pub(super) alerts: Arc<Alerts>,
}

impl Context {
    pub(super) fn new(bus: Bus, http: &HttpSettings, telemetry: Telemetry) -> Self {
        Self {
            caller: Caller::new(bus.clone()),
            measures: Measures::new(telemetry, bus),
            request_timeout: http.request_timeout(),
            places: Arc::new(Semaphore::new(http.max_in_flight)),
            requests: TaskTracker::new(),
            mode: LastMode::default(),
            alerts: Arc::default(),
        }
    }
}

/// When a request came, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// When its head had been read.
    pub(super) at: Instant,
    /// The client's address.
    pub(super) peer: Peer,
}

/// The client's end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The mode that a worker told last. A receipt that is written here has to name one.
#[derive(Debug, Default)]
pub(super) struct LastMode(Mutex<Option<Mode>>);

impl LastMode {
    pub(super) fn seen(&self, mode: Mode) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(mode);
    }

    /// Returns the last mode seen; before any, the one every router starts in.
    pub(super) fn get(&self) -> Mode {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unwrap_or(Mode::Paper)
    }
}
