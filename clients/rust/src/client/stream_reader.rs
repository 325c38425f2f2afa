//! Reads a stream for [`EventStream`](crate::client::event_stream::EventStream): through outages, and with its gaps.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::bus::connection::{AwaitedSubjects, Bus, BusError};
use crate::bus::stream_entry::StoredEntry;
use crate::bus::stream_follower::{FollowEvent, StartPosition, StreamFollower};
use crate::bus::subjects;
use crate::client::stream_error::StreamError;

/// How long a stream may be out of reach before an error is returned, unless the reader sets another time.
const DEFAULT_OUTAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// The delay before the stream is read again after an error; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest of these delays.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// The entries of one request; two requests may be in flight.
const BATCH_SIZE: usize = 256;

/// What a reader comes to.
#[derive(Debug)]
pub(crate) enum ReadStep {
    /// The stream begins behind this sequence.
    Begun(u64),
    /// The next entry.
    Entry(StoredEntry),
}

/// A reader of one stream.
#[derive(Debug)]
pub(crate) struct StreamReader {
    bus: Bus,
    follower: StreamFollower,
    after: Option<u64>,
    has_begun: bool,
    pub(crate) outage_timeout: Duration,
    failing_since: Option<Instant>,
    delay: Duration,
}

impl StreamReader {
    /// Returns a reader that continues behind a sequence, or begins at the end.
    pub(crate) fn new(bus: Bus, stream: &'static str, filters: Vec<String>, after: Option<u64>) -> Self {
        let start = after.map_or(StartPosition::New, |after| StartPosition::From(after.saturating_add(1)));
        let follower = StreamFollower::new(bus.clone(), stream, start);
        Self {
            bus,
            follower: follower.with_filters(filters).with_batch_size(BATCH_SIZE),
            after,
            has_begun: false,
            outage_timeout: DEFAULT_OUTAGE_TIMEOUT,
            failing_since: None,
            delay: FIRST_DELAY,
        }
    }

    /// Reads until the receiver is dropped. After an error it continues.
    pub(crate) async fn run(mut self: Box<Self>, steps: mpsc::Sender<Result<ReadStep, StreamError>>) {
        loop {
            let event = match self.read().await {
                Ok(event) => event,
                Err(error) => {
                    if steps.send(Err(StreamError::Unavailable(error))).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let dropped = self.follower.take_dropped();
            let gap = dropped.map(|next_sequence| Err(StreamError::Gap { next_sequence }));
            let next = match event {
                FollowEvent::Started(extent) => Some(self.started(extent.next_sequence)),
                FollowEvent::CaughtUp => None,
                FollowEvent::Entry(entry) => Some(Ok(ReadStep::Entry(entry))),
            };
            for step in gap.into_iter().chain(next) {
                if steps.send(step).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Returns where the stream begins, or that this is not the place behind what was read.
    fn started(&mut self, next_sequence: u64) -> Result<ReadStep, StreamError> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let is_expected = self.after.is_none_or(|after| next_sequence == after.saturating_add(1));
        // A later start is that of another stream, or of an end that comes before what was read.
        if is_first && is_expected {
            Ok(ReadStep::Begun(next_sequence.saturating_sub(1)))
        } else {
            Err(StreamError::Gap { next_sequence })
        }
    }

    /// Waits for the follower's next event, through an outage of at most the outage timeout.
    async fn read(&mut self) -> Result<FollowEvent, BusError> {
        loop {
            let api = AwaitedSubjects::Below(subjects::SERVER_API_PREFIX);
            match self.bus.unless_denied(api, self.follower.next()).await {
                Ok(event) => {
                    (self.failing_since, self.delay) = (None, FIRST_DELAY);
                    return Ok(event);
                }
                Err(error) => {
                    let is_final = matches!(error, BusError::Denied(_) | BusError::ServerTooOld(_));
                    let since = *self.failing_since.get_or_insert_with(Instant::now);
                    if is_final || since.elapsed() + self.delay > self.outage_timeout {
                        self.failing_since = None;
                        return Err(error);
                    }
                    tokio::time::sleep(self.delay).await;
                    self.delay = (self.delay * 2).min(MAX_DELAY);
                }
            }
        }
    }
}
