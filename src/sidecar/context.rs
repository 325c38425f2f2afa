//! What every request shares.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::bus::connection::Bus;
use crate::bus::router_client::RouterClient;
use crate::config::Settings;
use crate::domain::order_terms::Mode;
pub(super) use crate::http::Peer;
use crate::order_log::OrderLog;
use crate::sidecar::cors::CorsPolicy;
use crate::sidecar::event_stream::EventStreams;
use crate::sidecar::middleware::auth::KeyRing;
use crate::sidecar::middleware::http_metrics::HttpMetrics;
use crate::sidecar::positions::market_prices::MarketPrices;
use crate::telemetry::Telemetry;

/// How long a read of the order log waits for what a client was told of, and for its turn.
const ORDER_LOG_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The way to the bus, the order log, the prices, and how much may be under way at a time.
#[derive(Debug)]
pub(super) struct SidecarContext {
    pub(super) bus_client: RouterClient,
    pub(super) metrics: HttpMetrics,
    pub(super) request_timeout: Duration,
    pub(super) request_permits: Arc<Semaphore>,
    pub(super) request_tasks: TaskTracker,
    pub(super) last_mode: LastMode,
    pub(super) order_log: OrderLog,
    pub(super) prices: Arc<MarketPrices>,
    pub(super) key_ring: KeyRing,
    pub(super) cors: CorsPolicy,
    pub(super) event_streams: EventStreams,
}

impl SidecarContext {
    pub(super) fn new(
        bus: Bus,
        order_log: OrderLog,
        prices: Arc<MarketPrices>,
        telemetry: Telemetry,
        settings: &Settings,
    ) -> Self {
        let http = &settings.http;
        Self {
            bus_client: RouterClient::new(bus.clone()),
            metrics: HttpMetrics::new(telemetry, bus),
            request_timeout: http.request_timeout(),
            request_permits: Arc::new(Semaphore::new(http.max_in_flight)),
            request_tasks: TaskTracker::new(),
            last_mode: LastMode::default(),
            order_log: order_log,
            prices,
            key_ring: KeyRing::new(&settings.keys),
            cors: CorsPolicy::new(&http.cors_origins),
            event_streams: EventStreams::new(http),
        }
    }
}

impl SidecarContext {
    /// Returns until when a read of the order log that begins now may wait.
    pub(super) fn read_deadline(&self) -> Instant {
        Instant::now() + ORDER_LOG_READ_TIMEOUT.min(self.request_timeout / 2)
    }
}

/// When a request came, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestArrival {
    /// When its head had been read.
    pub(super) received_at: Instant,
    /// The client's address.
    pub(super) peer: Peer,
}

/// The mode that a worker told last. A receipt that is written here has to name one.
#[derive(Debug, Default)]
pub(super) struct LastMode(Mutex<Option<Mode>>);

impl LastMode {
    pub(super) fn record(&self, mode: Mode) {
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
