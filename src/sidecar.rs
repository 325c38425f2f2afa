//! REST: each request becomes one on the bus, and its answer the answer over HTTP.
//!
//! There is no business logic in here and no Redis. [`router`] shows the whole API; [`gate`] stands in front of it and
//! gives every request its id, its place and its time; [`bridge`] is the way onto the bus; [`handlers`] has one file per
//! noun. [`connections`] is below HTTP: who may connect, and for how long.
//!
//! A request that has reached the bus is never answered 5xx because of a missing answer: nobody knows then what became of
//! the order, and a client that retries a 5xx must not be able to double one.

mod alerts;
mod body;
mod bridge;
mod connections;
mod context;
mod gate;
mod handlers;
mod json;
mod measures;
mod parameters;
mod problem;
mod router;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bus::connection::{BusError, Patience, connect};
use crate::config::Settings;
use crate::telemetry::Telemetry;
use connections::{Connections, RESTING_CONNECTIONS};
use context::Context;

/// How long the first connection to the bus is tried for: the sidecar may be up before its server.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// The name the connection shows on the server.
const CONNECTION_NAME: &str = "order-router sidecar";

/// Why the sidecar did not start.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// Whoever reaches the address could trade.
    #[error("http.addr {0} is not a loopback address: without API keys the sidecar serves this machine only")]
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
    context: Arc<Context>,
    connections: Connections,
    /// Ends what goes on in the background, at the latest when the sidecar is dropped.
    background: DropGuard,
}

impl Sidecar {
    /// Connects to the bus, listens, and serves from then on.
    ///
    /// # Errors
    /// When the address is not this machine's own, the bus cannot be reached in time, or the address is taken.
    pub async fn start(settings: &Settings) -> Result<Self, SidecarError> {
        Self::start_measured(settings, Telemetry::new()).await
    }

    /// As [`Sidecar::start`], with the telemetry of its process, which others may share.
    ///
    /// # Errors
    /// As [`Sidecar::start`].
    pub async fn start_measured(settings: &Settings, telemetry: Telemetry) -> Result<Self, SidecarError> {
        let address = settings.http.addr;
        if !address.ip().to_canonical().is_loopback() {
            return Err(SidecarError::NotLoopback(address));
        }
        let bus = connect(&settings.nats, CONNECTION_NAME, Patience::Until(CONNECT_PATIENCE)).await?;
        let unbound = |error| SidecarError::Bind { address, error };
        let listener = TcpListener::bind(address).await.map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let context = Arc::new(Context::new(bus.clone(), &settings.http, telemetry));
        let stop = CancellationToken::new();
        tokio::spawn(alerts::follow(Arc::clone(&context.alerts), bus, stop.clone()));
        let connections = Connections::serve(
            listener,
            router::router(Arc::clone(&context)),
            settings.http.max_in_flight + RESTING_CONNECTIONS,
        );
        tracing::info!(%address, "the sidecar serves loopback only: no API keys are configured");
        Ok(Self {
            address,
            context,
            connections,
            background: stop.drop_guard(),
        })
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking connections, finishes the requests under way, and closes; after `grace` it closes all the same.
    pub async fn drain(self, grace: Duration) {
        let requests = &self.context.requests;
        let drained = async {
            self.connections.finish().await;
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
        self.connections.cut();
        drop(self.background);
    }
}
