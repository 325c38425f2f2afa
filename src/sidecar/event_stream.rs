//! The event streams of `GET /events`: a limited number, each with its own followers of the journal and the alerts.
//!
//! The connection pulls its stream. While a client reads nothing, its stream requests nothing from the bus and holds a few
//! entries at most. A client that continues to read receives what it missed.

pub(in crate::sidecar) mod cursor;
pub(in crate::sidecar) mod encoding;
pub(in crate::sidecar) mod follower;
pub(in crate::sidecar) mod subscription;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bus::connection::Bus;
use crate::config::http::HttpSettings;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::event_stream::follower::EventFollower;
use crate::sidecar::event_stream::subscription::EventSubscription;

/// The open event streams.
#[derive(Debug)]
pub(super) struct EventStreams {
    stream_permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    heartbeat_interval: Duration,
}

impl EventStreams {
    pub(super) fn new(http: &HttpSettings) -> Self {
        Self {
            stream_permits: Arc::new(Semaphore::new(http.max_event_streams)),
            shutdown: CancellationToken::new(),
            heartbeat_interval: http.events_heartbeat_interval(),
        }
    }

    /// Opens a stream. It delivers every event after this call.
    ///
    /// # Errors
    /// `queue_full` at the limit of streams; `bus_unavailable` if the journal or the alerts cannot be read within `timeout`.
    pub(super) async fn open(
        &self,
        bus: &Bus,
        subscription: EventSubscription,
        timeout: Duration,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<>, Fault> {
        let full = |_| {
            Fault::new(
                FaultCode::QueueFull,
                "the sidecar has reached its limit of event streams",
            )
        };
        let permit = Arc::clone(&self.stream_permits).try_acquire_owned().map_err(full)?;
        let opened = tokio::time::timeout(timeout, EventFollower::open(bus, subscription)).await;
        let unavailable = |reason: String| {
            Fault::new(
                FaultCode::BusUnavailable,
                format!("the journal and the alerts cannot be read: {reason}"),
            )
        };
        let follower = opened
            .map_err(|_| unavailable("no reply in time".to_owned()))?
            .map_err(|error| unavailable(error.to_string()))?;
        Ok(follower.into_stream(self.heartbeat_interval, self.shutdown.clone(), permit))
    }

    /// Ends every stream, including those that are opened later.
    pub(super) fn shut_down(&self) {
        self.shutdown.cancel();
    }
}
