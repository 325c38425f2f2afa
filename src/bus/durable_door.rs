//! The durable door: one task per broker pulls intents from its consumer on the work queue.
//!
//! `puller` requests intents, `delivery` processes each, and `dead_letter` stores those that cannot be processed.

mod dead_letter;
mod delivery;
mod intent_delivery;
mod puller;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::drain::DrainReport;
use crate::bus::drain::drain_calls;
use crate::bus::durable_door::delivery::DeliveryProcessor;
use crate::bus::durable_door::puller::IntentPuller;
use crate::bus::request::RequestHandler;
use crate::bus::subjects;
use crate::config::doors::DoorSettings;
use crate::domain::id::BrokerId;

/// The running door of one broker.
#[derive(Debug)]
pub struct DurableDoor {
    bus: Bus,
    stop: CancellationToken,
    puller_task: JoinHandle<()>,
    in_flight: TaskTracker,
}

/// Returns how many intents of a broker the work queue holds, those in flight included.
///
/// # Errors
/// When the server does not reply within the time limit of an exchange.
pub async fn fetch_backlog(bus: &Bus, broker: &BrokerId) -> Result<u64, BusError> {
    let queried = async {
        let stream = bus.jetstream.get_stream_no_info(subjects::STREAM_INTENTS).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let info = stream.consumer_info(subjects::intents_consumer(broker)).await;
        info.map_err(|error| error.to_string())
    };
    let info = with_timeout(bus.request_timeout(), "reading the backlog of intents", queried).await?;
    let in_flight = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
    Ok(info.num_pending.saturating_add(in_flight))
}

impl DurableDoor {
    /// Starts to pull a broker's intents. A consumer that is missing, now or later, is created.
    pub fn start<H: RequestHandler>(bus: Bus, doors: DoorSettings, broker: BrokerId, handler: Arc<H>) -> Self {
        let (stop, in_flight) = (CancellationToken::new(), TaskTracker::new());
        let puller = IntentPuller {
            slots: Arc::new(Semaphore::new(doors.durable_max_in_flight)),
            processor: Arc::new(DeliveryProcessor {
                bus: bus.clone(),
                settings: doors,
                handler,
            }),
            broker,
            in_flight: in_flight.clone(),
            stop: stop.clone(),
        };
        Self {
            bus,
            stop,
            puller_task: tokio::spawn(puller.run()),
            in_flight,
        }
    }

    /// Stops pulling, returns intents that have not started to the queue, and waits for the ones in flight for at most
    /// `grace`. The server redelivers those that are still in flight then, to any worker.
    pub async fn drain(self, grace: Duration) -> DrainReport {
        self.stop.cancel();
        let report = drain_calls("durable", self.puller_task, &self.in_flight, grace).await;
        if let Err(error) = self.bus.round_trip().await {
            tracing::warn!(%error, "the last acknowledgements may be lost; their intents are redelivered");
        }
        report
    }
}
