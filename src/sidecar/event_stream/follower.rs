//! Following the journal and the alerts for one client.

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
use crate::domain::id::AccountId;
use crate::sidecar::event_stream::cursor::{StreamCursor, stream_tag};
use crate::sidecar::event_stream::{EventCursor, EventSubscription, encoding};

/// How many entries of each stream are asked for at a time: a client that takes nothing holds twice as many at most.
const FETCH_BATCH: usize = 32;
/// The pause before a stream that cannot be read is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// Why a client is told to begin anew: what it has seen is not of this stream.
const RESET_ANOTHER_STREAM: &str = "another_stream";
/// Why a client is told to begin anew: the stream no longer has all that it has not seen.
const RESET_EXPIRED: &str = "expired";

/// One of the two streams.
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

/// Both streams, begun.
#[derive(Debug)]
pub(in crate::sidecar) struct EventFollower {
    accounts: Option<Vec<AccountId>>,
    journal: StreamFollower,
    alerts: StreamFollower,
    cursor: EventCursor,
    resets: Vec<(SourceStream, &'static str)>,
}

impl EventFollower {
    /// Looks at both streams: whatever they take from now on is told.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(in crate::sidecar) async fn open(bus: &Bus, subscription: EventSubscription) -> Result<Self, BusError> {
        let EventSubscription {
            accounts,
            resume_after: seen,
        } = subscription;
        let filters = encoding::journal_filters(accounts.as_deref());
        let journal = open_feed(bus, SourceStream::Journal, filters, seen.map(|place| place.journal));
        let filters = encoding::alert_filters(accounts.as_deref());
        let alerts = open_feed(bus, SourceStream::Alerts, filters, seen.map(|place| place.alerts));
        let (journal, alerts) = tokio::try_join!(journal, alerts)?;
        let resets = [
            (SourceStream::Journal, journal.reset_reason),
            (SourceStream::Alerts, alerts.reset_reason),
        ];
        Ok(Self {
            accounts,
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

    /// Returns what the client is told, until `stop`; its `place` among the event streams is free when this is dropped.
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
        let told = EventStreamState {
            accounts: self.accounts,
            // Both go on where they were, whichever of them is heard.
            entries: Box::pin(stream::select(journal, follow_feed(self.alerts, SourceStream::Alerts))),
            cursor: self.cursor,
            heartbeat_interval: heartbeat_interval,
            shutdown: shutdown,
            _permit: permit,
        };
        let told = stream::unfold(told, |mut told| async move {
            let bytes = told.next_event().await?;
            Some((Ok(bytes), told))
        });
        stream::iter([Ok(head.into())]).chain(told)
    }
}

/// One stream, begun.
struct OpenedFeed {
    feed: StreamFollower,
    cursor: StreamCursor,
    reset_reason: Option<&'static str>,
}

/// Begins after what was seen, if the stream still has what follows that.
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
    let mut reset = None;
    if let Some(seen) = resume_after {
        let next = seen.sequence.saturating_add(1);
        let mut feed = from(StartPosition::From(next));
        let extent = read_extent(&mut feed).await?;
        if seen.matches_stream(extent.created_at) && next <= extent.last_sequence.saturating_add(1) {
            // Whatever becomes of the stream, nobody wants all of its past told.
            feed.set_restart_position(StartPosition::New);
            return Ok(OpenedFeed {
                feed,
                cursor: cursor_before(extent),
                reset_reason: (next < extent.first_sequence).then_some(RESET_EXPIRED),
            });
        }
        reset = Some(RESET_ANOTHER_STREAM);
    }
    let mut feed = from(StartPosition::New);
    let extent = read_extent(&mut feed).await?;
    Ok(OpenedFeed {
        feed,
        cursor: cursor_before(extent),
        reset_reason: reset,
    })
}

async fn read_extent(feed: &mut StreamFollower) -> Result<StreamExtent, BusError> {
    loop {
        // A feed begins with nothing else.
        if let FollowEvent::Started(extent) = feed.next().await? {
            return Ok(extent);
        }
    }
}

/// Returns the mark of a stream of which nothing has been told from here on.
fn cursor_before(extent: StreamExtent) -> StreamCursor {
    StreamCursor {
        sequence: extent.next_sequence.saturating_sub(1),
        stream_tag: Some(stream_tag(extent.created_at)),
    }
}

/// Follows one stream without an end: one that cannot be read is tried again.
fn follow_feed(feed: StreamFollower, source: SourceStream) -> impl Stream<Item = (SourceStream, FollowEvent)> + Send {
    stream::unfold(feed, move |mut feed| async move {
        loop {
            match feed.next().await {
                Ok(followed) => return Some(((source, followed), feed)),
                Err(error) => {
                    tracing::debug!(%error, stream = source.label(), "an event stream waits for the bus");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    })
}

/// A stream that is told.
struct EventStreamState {
    accounts: Option<Vec<AccountId>>,
    entries: Pin<Box<dyn Stream<Item = (SourceStream, FollowEvent)> + Send>>,
    /// What has been told.
    cursor: EventCursor,
    heartbeat_interval: Duration,
    shutdown: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl EventStreamState {
    /// Waits for what is told next; `None` is the end.
    async fn next_event(&mut self) -> Option<Bytes> {
        let silent_until = Instant::now() + self.heartbeat_interval;
        loop {
            let (source, followed) = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                followed = self.entries.next() => followed?,
                () = sleep_until(silent_until) => return Some(Bytes::from_static(encoding::HEARTBEAT)),
            };
            if let Some(bytes) = self.event_for_entry(source, followed) {
                return Some(bytes);
            }
        }
    }

    fn event_for_entry(&mut self, source: SourceStream, followed: FollowEvent) -> Option<Bytes> {
        match followed {
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
                    SourceStream::Journal => {
                        encoding::encode_journal_entry(&entry, self.accounts.as_deref(), &self.cursor)
                    }
                    SourceStream::Alerts => encoding::encode_alert(&entry, self.accounts.as_deref(), &self.cursor),
                }
            }
        }
    }
}
