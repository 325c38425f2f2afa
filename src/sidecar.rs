//! REST: each request becomes one on the bus, and its answer the answer over HTTP.
//!
//! There is no business logic in here and no Redis. [`router`] shows the whole API; [`gate`] stands in front of it and
//! gives every request its id, its place and its time; [`auth`] asks who sends it; [`bridge`] is the way onto the bus;
//! [`handlers`] has one file per noun, [`api`] describes them all. [`connections`] limits who may connect, and for how
//! long.
//!
//! A request that has reached the bus is never answered 5xx because of a missing answer: nobody knows then what became of
//! the order, and a client that retries a 5xx must not be able to double one.

pub(crate) mod bus_bridge;
mod connections;
mod context;
mod cors;
mod event_stream;
pub mod extract;
mod handlers;
pub mod middleware;
pub(crate) mod openapi;
pub mod positions;
pub mod response;
mod router;

use crate::sidecar::positions::market_prices;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bus::connection::{BusError, ConnectPolicy, connect};
use crate::config::Settings;
use crate::http::{self, ConnectionServer};
use crate::order_log::OrderLog;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::positions::market_prices::MarketPrices;
use crate::telemetry::Telemetry;

/// How long the first connection to the bus is tried for: the sidecar may be up before its server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the order log may take to close its file.
const ORDER_LOG_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The name the connection shows on the server.
const CONNECTION_NAME: &str = "order-router sidecar";

/// Why the sidecar did not start.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// Whoever reaches the address could trade.
    #[error(
        "http.addr {0} is not a loopback address: without API keys ([[keys]] in the settings' file) the sidecar serves \
             this machine only; `order-router key new` makes one"
    )]
    NotLoopback(SocketAddr),
    /// The bus is out of reach.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The address cannot be listened at.
    #[error("the sidecar cannot listen at {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
}

/// The running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    address: SocketAddr,
    context: Arc<SidecarContext>,
    connection_server: ConnectionServer,
    /// Ends what goes on in the background, at the latest when the sidecar is dropped.
    background_guard: DropGuard,
}

impl Sidecar {
    /// Connects to the bus, listens, and serves from then on.
    ///
    /// # Errors
    /// When there are no keys and the address is not this machine's own, the bus cannot be reached in time, or the address is taken.
    pub async fn start(settings: &Settings) -> Result<Self, SidecarError> {
        Self::start_with_telemetry(settings, Telemetry::new()).await
    }

    /// As [`Sidecar::start`], with the telemetry of its process, which others may share.
    ///
    /// # Errors
    /// As [`Sidecar::start`].
    pub async fn start_with_telemetry(settings: &Settings, telemetry: Telemetry) -> Result<Self, SidecarError> {
        let address = settings.http.addr;
        let is_loopback = address.ip().to_canonical().is_loopback();
        if settings.keys.0.is_empty() && !is_loopback {
            return Err(SidecarError::NotLoopback(address));
        }
        let bus = connect(
            &settings.nats,
            CONNECTION_NAME,
            ConnectPolicy::RetryFor(CONNECT_TIMEOUT),
        )
        .await?;
        let unbound = |error| SidecarError::Bind { address, error };
        let listener = http::bind_listener(address).map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let stop = CancellationToken::new();
        let log = OrderLog::start(&settings.data_dir.0, bus.clone(), stop.clone());
        let prices = Arc::new(MarketPrices::from_settings(settings));
        tokio::spawn(market_prices::follow_quotes(
            Arc::clone(&prices),
            settings.nats.clone(),
            stop.clone(),
        ));
        let context = Arc::new(SidecarContext::new(bus, log, prices, telemetry, settings));
        let router = router::build_router(Arc::clone(&context));
        let connections = ConnectionServer::start(listener, router, connections::limits(&settings.http));
        log_listening(address, settings.keys.0.len());
        Ok(Self {
            address,
            context,
            connection_server: connections,
            background_guard: stop.drop_guard(),
        })
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its order log.
    pub fn order_log(&self) -> &OrderLog {
        &self.context.order_log
    }

    /// Ends the event streams, stops taking connections, finishes the requests under way, and closes; after `grace` it
    /// closes all the same.
    pub async fn drain(self, grace: Duration) {
        let requests = &self.context.request_tasks;
        self.context.event_streams.shut_down();
        let drained = async {
            self.connection_server.drain().await;
            // A client that went away has left its request behind.
            requests.close();
            requests.wait().await;
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            tracing::warn!(
                unfinished = requests.len(),
                "the sidecar's grace period is over: what is still under way goes unanswered"
            );
        }
        self.connection_server.abort();
        drop(self.background_guard);
        if tokio::time::timeout(ORDER_LOG_CLOSE_TIMEOUT, self.context.order_log.wait_until_stopped())
            .await
            .is_err()
        {
            tracing::warn!("the order log did not close in time: it will look at its file anew");
        }
    }
}

/// Tells who is served.
fn log_listening(address: SocketAddr, key_count: usize) {
    if key_count == 0 {
        tracing::info!(%address, "the sidecar serves loopback only: no API keys are configured");
    } else if address.ip().to_canonical().is_loopback() {
        tracing::info!(%address, key_count, "the sidecar serves the holders of its API keys");
    } else {
        tracing::warn!(
            %address,
            key_count,
            "the sidecar serves the holders of its API keys, without TLS: whoever reads the network reads the keys, unless a \
             proxy in front of it speaks TLS"
        );
    }
}
