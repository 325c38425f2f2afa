//! The state that all requests share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::bus::connection::Bus;
use crate::bus::router_client::RouterClient;
use crate::config::Settings;
use crate::domain::order_terms::Mode;
use crate::order_log::OrderLog;
use crate::sidecar::event_stream::EventStreams;
use crate::sidecar::middleware::auth::key_ring::ActiveKeys;
use crate::sidecar::middleware::auth::refusals::RefusedCallers;
use crate::sidecar::middleware::cors::CorsPolicy;
use crate::sidecar::middleware::host::HostPolicy;
use crate::sidecar::middleware::http_metrics::HttpMetrics;
use crate::sidecar::positions::market_prices::MarketPrices;
use crate::telemetry::Telemetry;

/// The maximum time for a read of the order log: it waits until the log has applied what clients have seen, and for its
/// turn.
const ORDER_LOG_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The part of the requests in flight that may be without a key, where keys are configured: one in this many.
const ANONYMOUS_PART: usize = 4;

/// The most requests that read the history of an order from the journal at a time.
const MAX_HISTORY_READS: usize = 16;

/// The bus, the order log, the prices, the keys, and the limits.
#[derive(Debug)]
pub(super) struct SidecarContext {
    pub(super) bus_client: RouterClient,
    pub(super) metrics: HttpMetrics,
    pub(super) request_timeout: Duration,
    pub(super) request_permits: Arc<Semaphore>,
    /// The permits of requests without a key.
    pub(super) anonymous_permits: Semaphore,
    pub(super) refused_callers: RefusedCallers,
    pub(super) request_tasks: TaskTracker,
    pub(super) last_mode: LastMode,
    pub(super) order_log: OrderLog,
    pub(super) prices: Arc<MarketPrices>,
    pub(super) keys: ActiveKeys,
    pub(super) cors: CorsPolicy,
    pub(super) hosts: HostPolicy,
    pub(super) event_streams: EventStreams,
    /// The permits of requests that read the history of an order from the journal.
    pub(super) history_permits: Semaphore,
    /// The OpenAPI document, as JSON.
    pub(super) openapi_document: Bytes,
}

impl SidecarContext {
    pub(super) fn new(
        bus: Bus,
        order_log: OrderLog,
        prices: Arc<MarketPrices>,
        telemetry: Telemetry,
        openapi_document: Bytes,
        settings: &Settings,
    ) -> Self {
        let http = &settings.http;
        Self {
            bus_client: RouterClient::new(bus.clone()),
            metrics: HttpMetrics::new(telemetry, bus),
            request_timeout: http.request_timeout(),
            request_permits: Arc::new(Semaphore::new(http.max_in_flight)),
            anonymous_permits: Semaphore::new((http.max_in_flight / ANONYMOUS_PART).max(1)),
            refused_callers: RefusedCallers::default(),
            request_tasks: TaskTracker::new(),
            last_mode: LastMode::default(),
            order_log,
            prices,
            keys: ActiveKeys::new(&settings.keys),
            cors: CorsPolicy::new(&http.cors_origins),
            hosts: HostPolicy::new(&http.allowed_hosts),
            event_streams: EventStreams::new(http),
            history_permits: Semaphore::new(MAX_HISTORY_READS),
            openapi_document,
        }
    }

    /// Returns the deadline of a read of the order log that starts now.
    pub(super) fn read_deadline(&self) -> Instant {
        Instant::now() + ORDER_LOG_READ_TIMEOUT.min(self.request_timeout / 2)
    }
}

/// The mode that a worker reported last. A receipt that the sidecar writes itself has to name one.
#[derive(Debug, Default)]
pub(super) struct LastMode(Mutex<Option<Mode>>);

impl LastMode {
    pub(super) fn record(&self, mode: Mode) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(mode);
    }

    /// Returns the last reported mode, or before any report `paper`, in which every router starts.
    pub(super) fn get(&self) -> Mode {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unwrap_or(Mode::Paper)
    }
}
