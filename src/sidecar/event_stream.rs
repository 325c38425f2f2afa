//! The event streams of `GET /events`: as many as have a place, each with its own followers of the journal and the alerts.
//!
//! A stream is pulled by its connection: while a client takes nothing, nothing is asked of the bus for it, so that it
//! holds a few entries at most. What it has missed meanwhile it is told when it goes on.

pub(in crate::sidecar) mod cursor;
pub(in crate::sidecar) mod encoding;
pub(in crate::sidecar) mod follower;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bus::connection::Bus;
use crate::config::http::HttpSettings;
use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode};
pub(super) use crate::sidecar::event_stream::cursor::EventCursor;
use crate::sidecar::event_stream::follower::EventFollower;

/// The event streams that are open.
#[derive(Debug)]
pub(super) struct EventStreams {
    stream_permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    heartbeat_interval: Duration,
}

/// What is told on a stream, and from where on.
#[derive(Debug)]
pub(super) struct EventSubscription {
    /// The accounts whose events are told, with those that belong to no account; every account's for `None`.
    pub(super) accounts: Option<Vec<AccountId>>,
    /// What the client has seen; `None` begins with what happens from now on.
    pub(super) resume_after: Option<EventCursor>,
}

impl EventStreams {
    pub(super) fn new(http: &HttpSettings) -> Self {
        Self {
            stream_permits: Arc::new(Semaphore::new(http.max_event_streams)),
            shutdown: CancellationToken::new(),
            heartbeat_interval: http.events_heartbeat_interval(),
        }
    }

    /// Opens a stream. What happens after this is told on it.
    ///
    /// # Errors
    /// `queue_full` without a free place; `bus_unavailable` where the bus cannot be read within `patience`.
    pub(super) async fn open(
        &self,
        bus: &Bus,
        subscription: EventSubscription,
        timeout: Duration,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<>, Fault> {
        let full = |_| {
            Fault::new(
                FaultCode::QueueFull,
                "the sidecar has as many event streams open as it takes",
            )
        };
        let place = Arc::clone(&self.stream_permits).try_acquire_owned().map_err(full)?;
        let begun = tokio::time::timeout(timeout, EventFollower::open(bus, subscription)).await;
        let unread = |reason: String| {
            Fault::new(
                FaultCode::BusUnavailable,
                format!("the journal and the alerts cannot be read: {reason}"),
            )
        };
        let following = begun
            .map_err(|_| unread("no answer in time".to_owned()))?
            .map_err(|error| unread(error.to_string()))?;
        Ok(following.into_stream(self.heartbeat_interval, self.shutdown.clone(), place))
    }

    /// Ends every stream, also those that are opened from now on.
    pub(super) fn shut_down(&self) {
        self.shutdown.cancel();
    }
}
