//! The request door: the NATS service `order-router` on a connection of its own.
//!
//! The services protocol (ADR-32 of the NATS project) is spoken here and not by the client library, for two reasons: its
//! statistics count no error that has a body, and it drops requests when it stops.

mod discovery;
mod intake;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use super::call::{Answer, Call, Endpoint, Handler};
use super::connection::{Bus, BusError, Patience, connect};
use crate::config::doors::DoorSettings;
use crate::config::nats::NatsSettings;
use discovery::Identity;
use intake::Intake;

/// What a drain left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Calls that were still under way when the grace period was over.
    pub unfinished: usize,
}

/// The running service.
#[derive(Debug)]
pub struct Service {
    bus: Bus,
    stop: CancellationToken,
    intake: JoinHandle<()>,
    discovery: JoinHandle<()>,
    calls: TaskTracker,
}

impl Service {
    /// Connects and takes requests from then on; `version` is the program's (three numbers, as the protocol wants).
    ///
    /// # Errors
    /// When there is no connection within `patience`, or the server refuses a subscription's subject.
    pub async fn start<H: Handler>(
        settings: &NatsSettings,
        doors: &DoorSettings,
        patience: Patience,
        version: &str,
        handler: Arc<H>,
    ) -> Result<Self, BusError> {
        let bus = connect(settings, "order-router service", patience).await?;
        let (stop, calls) = (CancellationToken::new(), TaskTracker::new());
        let identity = Arc::new(Identity::new(version));
        let discovery = discovery::start(&bus, Arc::clone(&identity)).await?;
        let intake = Intake::subscribe(&bus, doors, identity, handler, calls.clone()).await?;
        // From here on requests find us: the server has seen the subscriptions.
        bus.round_trip().await?;
        let intake = tokio::spawn(intake.run(stop.clone()));
        Ok(Self {
            bus,
            stop,
            intake,
            discovery,
            calls,
        })
    }

    /// Stops taking requests, answers those that have arrived, and waits for those under way, but no longer than
    /// `grace`. From then on callers get "no responders", or another worker.
    pub async fn drain(self, grace: Duration) -> Drained {
        self.stop.cancel();
        let drained = async {
            if let Err(error) = self.intake.await {
                tracing::error!(%error, "the request door failed");
            }
            self.calls.close();
            self.calls.wait().await;
        };
        let finished = timeout(grace, drained).await.is_ok();
        let unfinished = if finished { 0 } else { self.calls.len() };
        self.discovery.abort();
        if let Err(error) = self.bus.round_trip().await {
            tracing::warn!(%error, "the last answers may not have left");
        }
        // Everything has arrived and left: this only closes the connection.
        let _ = timeout(self.bus.request_timeout(), self.bus.client.drain()).await;
        Drained { unfinished }
    }
}
