//! The REST sidecar: each request becomes a request on the bus, and the reply becomes the response.
//!
//! It holds no business logic and no Redis connection. Start at [`router`], which lists every operation. [`middleware`]
//! runs before the handlers, [`bus_bridge`] sends requests on the bus, [`handlers`] has one file for each resource, and
//! [`openapi`] describes the operations.
//!
//! A missing reply to a request that was sent on the bus is never a 5xx: the outcome is unknown, and a client that retries
//! a 5xx must not be able to duplicate an order.

mod arrival;
mod bus_bridge;
mod call_context;
mod connections;
mod context;
mod event_stream;
mod extract;
mod handlers;
mod json_splice;
mod middleware;
mod openapi;
mod paths;
mod positions;
mod request_trace;
mod response;
mod router;
mod time_budget;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bus::connection::{BusError, ConnectPolicy, connect};
use crate::config::Settings;
use crate::config::api_keys::KeyList;
use crate::config::listen_address::ListenAddress;
use crate::http::{self, ConnectionServer};
use crate::order_log::OrderLog;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::positions::market_prices::{self, MarketPrices};
use crate::telemetry::Telemetry;

/// How long the sidecar retries its first connection to NATS, which may start later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum time for the order log to close its file.
const ORDER_LOG_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The name of the connection on the NATS server.
const CONNECTION_NAME: &str = "order-router sidecar";

/// A sidecar that did not start.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// Without keys, every client that reaches the address could trade.
    #[error(
        "http.addr {0} is not a loopback address: without API keys ([[keys]] in the settings file) the sidecar accepts \
         loopback connections only; create one with `order-router key new`"
    )]
    NotLoopback(ListenAddress),
    /// NATS is unreachable.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The sidecar cannot listen on the address.
    #[error("the sidecar cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: ListenAddress,
        /// The operating system's error.
        error: std::io::Error,
    },
}

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    address: SocketAddr,
    context: Arc<SidecarContext>,
    connection_server: ConnectionServer,
    /// Stops the background tasks, at the latest when the sidecar is dropped.
    background_guard: DropGuard,
}

impl Sidecar {
    /// Connects to NATS, listens, and starts to serve.
    ///
    /// # Errors
    /// See [`SidecarError`]: no keys and no loopback address, NATS unreachable for 30 s, or the address in use.
    pub async fn start(settings: &Settings) -> Result<Self, SidecarError> {
        Self::start_with_telemetry(settings, Telemetry::new()).await
    }

    /// Starts as [`Sidecar::start`] does, with the telemetry of the process, which other parts may share.
    ///
    /// # Errors
    /// As [`Sidecar::start`].
    pub async fn start_with_telemetry(settings: &Settings, telemetry: Telemetry) -> Result<Self, SidecarError> {
        let address = &settings.http.addr;
        let unbound = |error| SidecarError::Bind {
            address: address.clone(),
            error,
        };
        let resolved = http::resolve_host(address.host(), address.port())
            .await
            .map_err(unbound)?;
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        if settings.keys.0.is_empty() && !resolved.iter().all(is_loopback) {
            return Err(SidecarError::NotLoopback(address.clone()));
        }
        let bus = connect(
            &settings.nats,
            CONNECTION_NAME,
            ConnectPolicy::RetryFor(CONNECT_TIMEOUT),
        )
        .await?;
        let listener = http::bind_listener(resolved[0]).map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let stop = CancellationToken::new();
        let order_log = OrderLog::start(&settings.data_dir.0, bus.clone(), stop.clone());
        let prices = Arc::new(MarketPrices::from_settings(settings));
        tokio::spawn(market_prices::follow_quotes(
            Arc::clone(&prices),
            settings.nats.clone(),
            stop.clone(),
        ));
        let context = Arc::new(SidecarContext::new(
            bus,
            order_log,
            prices,
            telemetry,
            router::openapi_document(),
            settings,
        ));
        let router = router::build_router(Arc::clone(&context));
        let connection_server = ConnectionServer::start(listener, router, connections::limits(&settings.http));
        log_listening(address, settings.keys.0.len());
        Ok(Self {
            address,
            context,
            connection_server,
            background_guard: stop.drop_guard(),
        })
    }

    /// Returns the address that the sidecar listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the API keys. Requests in flight are completed; the event streams of removed and changed keys end.
    pub fn replace_keys(&self, keys: &KeyList) {
        self.context.keys.replace(keys);
    }

    /// Returns the order log.
    pub fn order_log(&self) -> &OrderLog {
        &self.context.order_log
    }

    /// Ends the event streams, accepts no more connections, completes the requests in flight, and closes. After `grace` it
    /// closes in any case.
    pub async fn drain(self, grace: Duration) {
        let requests = &self.context.request_tasks;
        self.context.event_streams.shut_down();
        let drained = async {
            self.connection_server.drain().await;
            // The request of a client that disconnected is still running.
            requests.close();
            requests.wait().await;
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            tracing::warn!(
                unfinished = requests.len(),
                "the sidecar's grace period is over: the unfinished requests get no response"
            );
        }
        self.connection_server.abort();
        drop(self.background_guard);
        if tokio::time::timeout(ORDER_LOG_CLOSE_TIMEOUT, self.context.order_log.wait_until_stopped())
            .await
            .is_err()
        {
            tracing::warn!("the order log did not close its file in time: it checks the file at the next start");
        }
    }
}

/// Logs the address and which clients the sidecar serves.
fn log_listening(address: SocketAddr, key_count: usize) {
    if key_count == 0 {
        tracing::info!(%address, "sidecar listening; it serves loopback only: no API keys are configured");
    } else if address.ip().to_canonical().is_loopback() {
        tracing::info!(%address, key_count, "sidecar listening; it serves the holders of its API keys");
    } else {
        tracing::warn!(
            %address,
            key_count,
            "sidecar listening; it serves the holders of its API keys without TLS: put a TLS proxy in front of it, or the keys \
             can be read on the network"
        );
    }
}

/// Returns the text of an event cursor as the sidecar writes it; `None` where it is no cursor. For the checks of `fuzz/`.
#[doc(hidden)]
pub fn rewrite_event_cursor(text: &str) -> Option<String> {
    event_stream::cursor::EventCursor::parse(text)
        .ok()
        .map(|cursor| cursor.to_string())
}
