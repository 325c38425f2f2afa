//! The durable door: one task per broker over its consumer on the work queue.

mod dead_letter;
mod delivery;
pub(in crate::bus) mod puller;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::durable_door::delivery::DeliveryProcessor;
use crate::bus::durable_door::puller::IntentPuller;
use crate::bus::request::RequestHandler;
pub use crate::bus::request_door::DrainReport;
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

/// Returns how many intents of a broker are kept that no worker has dealt with, those under way included.
///
/// # Errors
/// When the server does not tell within the time limit of an exchange.
pub async fn fetch_backlog(bus: &Bus, broker: &BrokerId) -> Result<u64, BusError> {
    let asked = async {
        let stream = bus.jetstream.get_stream_no_info(subjects::STREAM_INTENTS).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let info = stream.consumer_info(subjects::intents_consumer(broker)).await;
        info.map_err(|error| error.to_string())
    };
    let info = with_timeout(bus.request_timeout(), "asking for the intents that wait", asked).await?;
    let under_way = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
    Ok(info.num_pending.saturating_add(under_way))
}

impl DurableDoor {
    /// Starts pulling a broker's intents. A consumer that is missing, now or later, is made anew.
    pub fn start<H: RequestHandler>(bus: Bus, doors: DoorSettings, broker: BrokerId, handler: Arc<H>) -> Self {
        let (stop, calls) = (CancellationToken::new(), TaskTracker::new());
        let puller = IntentPuller {
            slots: Arc::new(Semaphore::new(doors.durable_max_in_flight)),
            processor: Arc::new(DeliveryProcessor {
                bus: bus.clone(),
                settings: doors,
                handler,
            }),
            broker,
            in_flight: calls.clone(),
            stop: stop.clone(),
        };
        Self {
            bus,
            stop,
            puller_task: tokio::spawn(puller.run()),
            in_flight: calls,
        }
    }

    /// Stops pulling, gives back at once what has not begun, and waits for what is under way, but no longer than
    /// `grace`; what is still under way then is delivered again, to whichever worker is there.
    pub async fn drain(self, grace: Duration) -> DrainReport {
        self.stop.cancel();
        let drained = async {
            if let Err(error) = self.puller_task.await {
                tracing::error!(%error, "the durable door failed");
            }
            self.in_flight.close();
            self.in_flight.wait().await;
        };
        let finished = timeout(grace, drained).await.is_ok();
        let unfinished = if finished { 0 } else { self.in_flight.len() };
        if let Err(error) = self.bus.round_trip().await {
            tracing::warn!(%error, "the last acknowledgements may not have left");
        }
        DrainReport { unfinished }
    }
}
