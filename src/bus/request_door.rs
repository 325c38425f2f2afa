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

use crate::bus::connection::{Bus, BusError, ConnectPolicy, connect};
pub use crate::bus::request::{BusReply, BusRequest, Endpoint, RequestHandler};
use crate::bus::request_door::discovery::ServiceInstance;
use crate::bus::request_door::intake::RequestIntake;
use crate::config::doors::DoorSettings;
use crate::config::nats::NatsSettings;

/// What a drain left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Calls that were still under way when the grace period was over.
    pub unfinished: usize,
}

/// The running service.
#[derive(Debug)]
pub struct RequestDoor {
    bus: Bus,
    stop: CancellationToken,
    intake_task: JoinHandle<()>,
    discovery_task: JoinHandle<()>,
    in_flight: TaskTracker,
}

impl RequestDoor {
    /// Connects and takes requests from then on; `version` is the program's (three numbers, as the protocol wants).
    ///
    /// # Errors
    /// When there is no connection within `patience`, or the server refuses a subscription's subject.
    pub async fn start<H: RequestHandler>(
        settings: &NatsSettings,
        doors: &DoorSettings,
        policy: ConnectPolicy,
        version: &str,
        handler: Arc<H>,
    ) -> Result<Self, BusError> {
        let bus = connect(settings, "order-router service", policy).await?;
        let (stop, calls) = (CancellationToken::new(), TaskTracker::new());
        let identity = Arc::new(ServiceInstance::new(version));
        let discovery = discovery::spawn_discovery(&bus, Arc::clone(&identity)).await?;
        let intake = RequestIntake::subscribe(&bus, doors, identity, handler, calls.clone()).await?;
        // From here on requests find us: the server has seen the subscriptions.
        bus.round_trip().await?;
        let intake = tokio::spawn(intake.run(stop.clone()));
        Ok(Self {
            bus,
            stop,
            intake_task: intake,
            discovery_task: discovery,
            in_flight: calls,
        })
    }

    /// Stops taking requests, answers those that have arrived, and waits for those under way, but no longer than
    /// `grace`. From then on callers get "no responders", or another worker.
    pub async fn drain(self, grace: Duration) -> DrainReport {
        self.stop.cancel();
        let drained = async {
            if let Err(error) = self.intake_task.await {
                tracing::error!(%error, "the request door failed");
            }
            self.in_flight.close();
            self.in_flight.wait().await;
        };
        let finished = timeout(grace, drained).await.is_ok();
        let unfinished = if finished { 0 } else { self.in_flight.len() };
        self.discovery_task.abort();
        if let Err(error) = self.bus.round_trip().await {
            tracing::warn!(%error, "the last answers may not have left");
        }
        // Everything has arrived and left: this only closes the connection.
        let _ = timeout(self.bus.request_timeout(), self.bus.client.drain()).await;
        DrainReport { unfinished }
    }
}
