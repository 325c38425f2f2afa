//! Following the journal and the alerts for one client.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::place::{Mark, tag};
use super::{Place, Wanted, message};
use crate::bus::connection::{Bus, BusError};
use crate::bus::feed::{Extent, Feed, Followed, Start};
use crate::bus::subjects;
use crate::domain::id::AccountId;

/// How many entries of each stream are asked for at a time: a client that takes nothing holds twice as many at most.
const BATCH: usize = 32;
/// The pause before a stream that cannot be read is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// Why a client is told to begin anew: what it has seen is not of this stream.
const ANOTHER_STREAM: &str = "another_stream";
/// Why a client is told to begin anew: the stream no longer has all that it has not seen.
const EXPIRED: &str = "expired";

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Journal,
    Alerts,
}

impl Source {
    fn stream(self) -> &'static str {
        match self {
            Self::Journal => subjects::STREAM_REPORTS,
            Self::Alerts => subjects::STREAM_ALERTS,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Alerts => "alerts",
        }
    }

    fn mark(self, place: &mut Place) -> &mut Mark {
        match self {
            Self::Journal => &mut place.journal,
            Self::Alerts => &mut place.alerts,
        }
    }
}

/// Both streams, begun.
#[derive(Debug)]
pub(super) struct Following {
    accounts: Option<Vec<AccountId>>,
    journal: Feed,
    alerts: Feed,
    place: Place,
    resets: Vec<(Source, &'static str)>,
}

impl Following {
    /// Looks at both streams: whatever they take from now on is told.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) async fn begin(bus: &Bus, wanted: Wanted) -> Result<Self, BusError> {
        let Wanted { accounts, seen } = wanted;
        let filters = message::journal_filters(accounts.as_deref());
        let journal = begin(bus, Source::Journal, filters, seen.map(|place| place.journal));
        let filters = message::alert_filters(accounts.as_deref());
        let alerts = begin(bus, Source::Alerts, filters, seen.map(|place| place.alerts));
        let (journal, alerts) = tokio::try_join!(journal, alerts)?;
        let resets = [(Source::Journal, journal.reset), (Source::Alerts, alerts.reset)];
        Ok(Self {
            accounts,
            place: Place {
                journal: journal.mark,
                alerts: alerts.mark,
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
    pub(super) fn told(
        self,
        heartbeat: Duration,
        stop: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
        let mut head = message::head(&self.place).to_vec();
        for (source, reason) in self.resets {
            head.extend_from_slice(&message::reset(source.name(), reason, &self.place));
        }
        let journal = followed(self.journal, Source::Journal);
        let told = Telling {
            accounts: self.accounts,
            // Both go on where they were, whichever of them is heard.
            followed: Box::pin(stream::select(journal, followed(self.alerts, Source::Alerts))),
            place: self.place,
            heartbeat,
            stop,
            _place: place,
        };
        let told = stream::unfold(told, |mut told| async move {
            let bytes = told.next().await?;
            Some((Ok(bytes), told))
        });
        stream::iter([Ok(head.into())]).chain(told)
    }
}

/// One stream, begun.
struct Begun {
    feed: Feed,
    mark: Mark,
    reset: Option<&'static str>,
}

/// Begins after what was seen, if the stream still has what follows that.
async fn begin(bus: &Bus, source: Source, filters: Vec<String>, seen: Option<Mark>) -> Result<Begun, BusError> {
    let from = |start| {
        Feed::new(bus.clone(), source.stream(), start)
            .filtered(filters.clone())
            .in_batches_of(BATCH)
    };
    let mut reset = None;
    if let Some(seen) = seen {
        let next = seen.sequence.saturating_add(1);
        let mut feed = from(Start::From(next));
        let extent = extent(&mut feed).await?;
        if seen.is_of(extent.created) && next <= extent.last_sequence.saturating_add(1) {
            // Whatever becomes of the stream, nobody wants all of its past told.
            feed.begin_again_with(Start::New);
            return Ok(Begun {
                feed,
                mark: before(extent),
                reset: (next < extent.first_sequence).then_some(EXPIRED),
            });
        }
        reset = Some(ANOTHER_STREAM);
    }
    let mut feed = from(Start::New);
    let extent = extent(&mut feed).await?;
    Ok(Begun {
        feed,
        mark: before(extent),
        reset,
    })
}

async fn extent(feed: &mut Feed) -> Result<Extent, BusError> {
    loop {
        // A feed begins with nothing else.
        if let Followed::Begun(extent) = feed.next().await? {
            return Ok(extent);
        }
    }
}

/// Returns the mark of a stream of which nothing has been told from here on.
fn before(extent: Extent) -> Mark {
    Mark {
        sequence: extent.next_sequence.saturating_sub(1),
        tag: Some(tag(extent.created)),
    }
}

/// Follows one stream without an end: one that cannot be read is tried again.
fn followed(feed: Feed, source: Source) -> impl Stream<Item = (Source, Followed)> + Send {
    stream::unfold(feed, move |mut feed| async move {
        loop {
            match feed.next().await {
                Ok(followed) => return Some(((source, followed), feed)),
                Err(error) => {
                    tracing::debug!(%error, stream = source.name(), "an event stream waits for the bus");
                    sleep(PAUSE).await;
                }
            }
        }
    })
}

/// A stream that is told.
struct Telling {
    accounts: Option<Vec<AccountId>>,
    followed: Pin<Box<dyn Stream<Item = (Source, Followed)> + Send>>,
    /// What has been told.
    place: Place,
    heartbeat: Duration,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Telling {
    /// Waits for what is told next; `None` is the end.
    async fn next(&mut self) -> Option<Bytes> {
        let silent_until = Instant::now() + self.heartbeat;
        loop {
            let (source, followed) = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                followed = self.followed.next() => followed?,
                () = sleep_until(silent_until) => return Some(Bytes::from_static(message::HEARTBEAT)),
            };
            if let Some(bytes) = self.event(source, followed) {
                return Some(bytes);
            }
        }
    }

    fn event(&mut self, source: Source, followed: Followed) -> Option<Bytes> {
        match followed {
            Followed::CaughtUp => None,
            Followed::Begun(extent) => {
                *source.mark(&mut self.place) = before(extent);
                Some(message::reset(source.name(), ANOTHER_STREAM, &self.place))
            }
            Followed::Entry(entry) => {
                source.mark(&mut self.place).sequence = entry.sequence;
                match source {
                    Source::Journal => message::of_journal(&entry, self.accounts.as_deref(), &self.place),
                    Source::Alerts => message::of_alert(&entry, self.accounts.as_deref(), &self.place),
                }
            }
        }
    }
}
