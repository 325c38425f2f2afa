//! Follows the journal and the alerts for one client.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::bus::connection::{Bus, BusError};
use crate::bus::stream_follower::{FollowEvent, StartPosition, StreamExtent, StreamFollower};
use crate::bus::subjects;
use crate::sidecar::event_stream::cursor::{EventCursor, StreamCursor, stream_tag};
use crate::sidecar::event_stream::encoding;
use crate::sidecar::event_stream::subscription::EventSubscription;

/// The number of entries requested of each stream at a time. A client that reads nothing holds at most twice as many.
const FETCH_BATCH: usize = 32;
/// The delay before an unavailable stream is retried.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// The reason of a reset: the client's cursor belongs to another stream.
const RESET_ANOTHER_STREAM: &str = "another_stream";
/// The reason of a reset: the stream no longer has every entry after the client's cursor.
const RESET_EXPIRED: &str = "expired";

/// One of the two followed streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceStream {
    Journal,
    Alerts,
}

impl SourceStream {
    fn stream_name(self) -> &'static str {
        match self {
            Self::Journal => subjects::STREAM_REPORTS,
            Self::Alerts => subjects::STREAM_ALERTS,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Alerts => "alerts",
        }
    }

    fn cursor_mut(self, cursor: &mut EventCursor) -> &mut StreamCursor {
        match self {
            Self::Journal => &mut cursor.journal,
            Self::Alerts => &mut cursor.alerts,
        }
    }
}

/// Both streams, opened.
#[derive(Debug)]
pub(in crate::sidecar) struct EventFollower {
    journal: StreamFollower,
    alerts: StreamFollower,
    cursor: EventCursor,
    resets: Vec<(SourceStream, &'static str)>,
}

impl EventFollower {
    /// Opens both streams. The client receives every entry after this call.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(in crate::sidecar) async fn open(bus: &Bus, subscription: EventSubscription) -> Result<Self, BusError> {
        let EventSubscription { accounts, resume_after } = subscription;
        let filters = encoding::journal_filters(accounts.as_deref());
        let journal = open_feed(
            bus,
            SourceStream::Journal,
            filters,
            resume_after.map(|cursor| cursor.journal),
        );
        let filters = encoding::alert_filters(accounts.as_deref());
        let alerts = open_feed(
            bus,
            SourceStream::Alerts,
            filters,
            resume_after.map(|cursor| cursor.alerts),
        );
        let (journal, alerts) = tokio::try_join!(journal, alerts)?;
        let resets = [
            (SourceStream::Journal, journal.reset_reason),
            (SourceStream::Alerts, alerts.reset_reason),
        ];
        Ok(Self {
            cursor: EventCursor {
                journal: journal.cursor,
                alerts: alerts.cursor,
            },
            journal: journal.feed,
            alerts: alerts.feed,
            resets: resets
                .into_iter()
                .filter_map(|(source, reset)| reset.map(|reason| (source, reason)))
                .collect(),
        })
    }

    /// Returns the client's events, until `shutdown`. Dropping the stream releases its permit.
    pub(in crate::sidecar) fn into_stream(
        self,
        heartbeat_interval: Duration,
        shutdown: CancellationToken,
        permit: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
        let mut head = encoding::encode_preamble(&self.cursor).to_vec();
        for (source, reason) in self.resets {
            head.extend_from_slice(&encoding::encode_reset(source.label(), reason, &self.cursor));
        }
        let journal = follow_feed(self.journal, SourceStream::Journal);
        let state = EventStreamState {
            // Polling one of the streams does not cancel the other.
            entries: Box::pin(stream::select(journal, follow_feed(self.alerts, SourceStream::Alerts))),
            cursor: self.cursor,
            heartbeat_interval,
            shutdown,
            _permit: permit,
        };
        let events = stream::unfold(state, |mut state| async move {
            let bytes = state.next_event().await?;
            Some((Ok(bytes), state))
        });
        stream::iter([Ok(head.into())]).chain(events)
    }
}

/// One stream, opened.
struct OpenedFeed {
    feed: StreamFollower,
    cursor: StreamCursor,
    reset_reason: Option<&'static str>,
}

/// Opens a stream after the client's cursor, if the cursor belongs to it, otherwise at its end.
async fn open_feed(
    bus: &Bus,
    source: SourceStream,
    filters: Vec<String>,
    resume_after: Option<StreamCursor>,
) -> Result<OpenedFeed, BusError> {
    let from = |start| {
        StreamFollower::new(bus.clone(), source.stream_name(), start)
            .with_filters(filters.clone())
            .with_batch_size(FETCH_BATCH)
    };
    let mut reset_reason = None;
    if let Some(cursor) = resume_after {
        let next = cursor.sequence.saturating_add(1);
        let mut feed = from(StartPosition::From(next));
        let extent = read_extent(&mut feed).await?;
        if cursor.matches_stream(extent.created_at) && next <= extent.last_sequence.saturating_add(1) {
            // If the stream is replaced later, the client does not want all of its past.
            feed.set_restart_position(StartPosition::New);
            return Ok(OpenedFeed {
                feed,
                cursor: cursor_before(extent),
                reset_reason: (next < extent.first_sequence).then_some(RESET_EXPIRED),
            });
        }
        reset_reason = Some(RESET_ANOTHER_STREAM);
    }
    let mut feed = from(StartPosition::New);
    let extent = read_extent(&mut feed).await?;
    Ok(OpenedFeed {
        feed,
        cursor: cursor_before(extent),
        reset_reason,
    })
}

async fn read_extent(feed: &mut StreamFollower) -> Result<StreamExtent, BusError> {
    loop {
        // It is a feed's first event.
        if let FollowEvent::Started(extent) = feed.next().await? {
            return Ok(extent);
        }
    }
}

/// Returns the cursor before the next entry of a stream.
fn cursor_before(extent: StreamExtent) -> StreamCursor {
    StreamCursor {
        sequence: extent.next_sequence.saturating_sub(1),
        stream_tag: Some(stream_tag(extent.created_at)),
    }
}

/// Follows one stream without end. An unavailable stream is retried.
fn follow_feed(feed: StreamFollower, source: SourceStream) -> impl Stream<Item = (SourceStream, FollowEvent)> + Send {
    stream::unfold(feed, move |mut feed| async move {
        loop {
            match feed.next().await {
                Ok(event) => return Some(((source, event), feed)),
                Err(error) => {
                    tracing::debug!(%error, stream = source.label(), "an event stream is unavailable; retrying");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    })
}

/// The state of a client's event stream.
struct EventStreamState {
    entries: Pin<Box<dyn Stream<Item = (SourceStream, FollowEvent)> + Send>>,
    /// The last delivered entries.
    cursor: EventCursor,
    heartbeat_interval: Duration,
    shutdown: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl EventStreamState {
    /// Returns the next event, or a heartbeat. `None` ends the stream.
    async fn next_event(&mut self) -> Option<Bytes> {
        let heartbeat_at = Instant::now() + self.heartbeat_interval;
        loop {
            let (source, event) = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                entry = self.entries.next() => entry?,
                () = sleep_until(heartbeat_at) => return Some(Bytes::from_static(encoding::HEARTBEAT)),
            };
            if let Some(bytes) = self.event_for_entry(source, event) {
                return Some(bytes);
            }
        }
    }

    fn event_for_entry(&mut self, source: SourceStream, event: FollowEvent) -> Option<Bytes> {
        match event {
            FollowEvent::CaughtUp => None,
            FollowEvent::Started(extent) => {
                *source.cursor_mut(&mut self.cursor) = cursor_before(extent);
                Some(encoding::encode_reset(
                    source.label(),
                    RESET_ANOTHER_STREAM,
                    &self.cursor,
                ))
            }
            FollowEvent::Entry(entry) => {
                source.cursor_mut(&mut self.cursor).sequence = entry.sequence;
                match source {
                    SourceStream::Journal => encoding::encode_journal_entry(&entry, &self.cursor),
                    SourceStream::Alerts => Some(encoding::encode_alert(&entry, &self.cursor)),
                }
            }
        }
    }
}
