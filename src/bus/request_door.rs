//! The request door: the NATS service `order-router` on a connection of its own.
//!
//! The services protocol (ADR-32 of the NATS project) is implemented here and not by the client library, for two reasons:
//! the library's statistics count no error that has a body, and it drops requests when it stops.

mod discovery;
mod intake;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{Bus, BusError, ConnectPolicy, connect};
use crate::bus::drain::DrainReport;
use crate::bus::drain::drain_calls;
use crate::bus::request::RequestHandler;
use crate::bus::request_door::discovery::ServiceInstance;
use crate::bus::request_door::intake::RequestIntake;
use crate::config::doors::DoorSettings;
use crate::config::nats::NatsSettings;

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
    /// Connects and takes requests from then on. `version` is the program's version, in three numbers as the protocol
    /// requires.
    ///
    /// # Errors
    /// When `policy` allows no further attempt to connect, or the server refuses a subscription.
    pub async fn start<H: RequestHandler>(
        settings: &NatsSettings,
        doors: &DoorSettings,
        policy: ConnectPolicy,
        version: &str,
        handler: Arc<H>,
    ) -> Result<Self, BusError> {
        let bus = connect(settings, "order-router service", policy).await?;
        let (stop, in_flight) = (CancellationToken::new(), TaskTracker::new());
        let instance = Arc::new(ServiceInstance::new(version));
        let discovery_task = discovery::spawn_discovery(&bus, Arc::clone(&instance)).await?;
        let intake = RequestIntake::subscribe(&bus, doors, instance, handler, in_flight.clone()).await?;
        // The server has handled the subscriptions: requests arrive from now on.
        bus.round_trip().await?;
        let intake_task = tokio::spawn(intake.run(stop.clone()));
        Ok(Self {
            bus,
            stop,
            intake_task,
            discovery_task,
            in_flight,
        })
    }

    /// Stops taking requests, handles those that have arrived, and waits for the ones in flight for at most `grace`. After
    /// that callers reach another worker or get "no responders".
    pub async fn drain(self, grace: Duration) -> DrainReport {
        self.stop.cancel();
        let report = drain_calls("request", self.intake_task, &self.in_flight, grace).await;
        self.discovery_task.abort();
        if let Err(error) = self.bus.round_trip().await {
            tracing::warn!(%error, "the last replies may be lost");
        }
        // Every message has arrived and left: this only closes the connection.
        let _ = timeout(self.bus.request_timeout(), self.bus.client.drain()).await;
        report
    }
}
