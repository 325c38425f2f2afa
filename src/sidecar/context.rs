//! What every request shares.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::auth::Keys;
use super::cors::Cors;
use super::event_stream::EventStreams;
use super::measures::Measures;
use super::order_log::OrderLog;
use super::prices::Prices;
use crate::bus::client::Caller;
use crate::bus::connection::Bus;
use crate::config::Settings;
use crate::domain::terms::Mode;
pub(super) use crate::http::Peer;
use crate::telemetry::Telemetry;

/// How long a read of the order log waits for what a client was told of, and for its turn.
const READ_PATIENCE: Duration = Duration::from_secs(2);

/// The way to the bus, the order log, the prices, and how much may be under way at a time.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) caller: Caller,
    pub(super) measures: Measures,
    pub(super) request_timeout: Duration,
    pub(super) places: Arc<Semaphore>,
    pub(super) requests: TaskTracker,
    pub(super) mode: LastMode,
    pub(super) log: OrderLog,
    pub(super) prices: Arc<Prices>,
    pub(super) keys: Keys,
    pub(super) cors: Cors,
    pub(super) events: EventStreams,
}

impl Context {
    pub(super) fn new(bus: Bus, log: OrderLog, prices: Arc<Prices>, telemetry: Telemetry, settings: &Settings) -> Self {
        let http = &settings.http;
        Self {
            caller: Caller::new(bus.clone()),
            measures: Measures::new(telemetry, bus),
            request_timeout: http.request_timeout(),
            places: Arc::new(Semaphore::new(http.max_in_flight)),
            requests: TaskTracker::new(),
            mode: LastMode::default(),
            log,
            prices,
            keys: Keys::new(&settings.keys),
            cors: Cors::new(&http.cors_origins),
            events: EventStreams::new(http),
        }
    }
}

impl Context {
    /// Returns until when a read of the order log that begins now may wait.
    pub(super) fn read_until(&self) -> Instant {
        Instant::now() + READ_PATIENCE.min(self.request_timeout / 2)
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
