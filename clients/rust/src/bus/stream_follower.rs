//! Following a stream: each entry once and in order, from a position on, and then each new one.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::{Message, StatusCode, Subscriber, jetstream};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::pull_consumer::{SILENCE_TIMEOUT, ephemeral_consumer, request_batch};
use crate::bus::stream_entry::{StoredEntry, read_delivery, timestamp_from_nanoseconds};
use crate::bus::{headers, subjects};
use crate::domain::time::Timestamp;

/// The default size of a pull request, in entries. Two requests may be in flight.
const DEFAULT_BATCH_SIZE: usize = 512;
/// How long the server holds a pull request.
const PULL_EXPIRES: Duration = Duration::from_secs(10);
/// The pause before a lost consumer is created again.
const RESTART_DELAY: Duration = Duration::from_millis(50);
const OPERATION: &str = "following a stream";

/// Where a follower starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// At that many entries before the stream's end.
    Last(u64),
    /// At the entry with this sequence, or the first one after it. A stream that ends before the sequence just below it is
    /// another stream, and is followed from its first entry on.
    From(u64),
    /// At the end that the stream has when it is first read. A stream that replaces it is followed from its first entry on.
    New,
}

/// The extent of a stream when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamExtent {
    /// When the stream was created: another time means another stream.
    pub created_at: Timestamp,
    /// The sequence of its first entry, or the one that its first entry will have.
    pub first_sequence: u64,
    /// The sequence of its last entry; 0 when it never had one.
    pub last_sequence: u64,
    /// The sequence of the next entry that the follower returns, or the lowest it can have.
    pub next_sequence: u64,
}

/// What a follower returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowEvent {
    /// The follower starts here. Entries returned before belong to another stream, or to an end that this stream has lost.
    Started(StreamExtent),
    /// The next entry.
    Entry(StoredEntry),
    /// All entries that the stream held at the start have been returned; once after each start.
    CaughtUp,
}

/// A follower of one stream.
#[derive(Debug)]
pub struct StreamFollower {
    bus: Bus,
    stream: &'static str,
    start: StartPosition,
    filters: Vec<String>,
    batch_size: usize,
    /// When the stream was created, once it has been read.
    created_at: Option<Timestamp>,
    /// The lowest sequence that the next entry can have, and the highest one the stream is known to have.
    next_sequence: u64,
    last_sequence: u64,
    is_caught_up: bool,
    /// The first sequence that is left, where the stream dropped entries before they were returned.
    dropped_before: Option<u64>,
    active_pull: Option<ActivePull>,
}

/// A consumer with pull requests in flight.
struct ActivePull {
    messages: Subscriber,
    inbox: String,
    /// The subject of pull requests to the consumer.
    pull_subject: String,
    /// The consumer sequence that its next delivery must have.
    expected_sequence: u64,
    /// How many entries are requested and not delivered.
    requested: usize,
    /// How many entries the server has for it beyond the last delivery.
    pending: u64,
}

impl std::fmt::Debug for ActivePull {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ActivePull")
            .field("expected", &self.expected_sequence)
            .finish_non_exhaustive()
    }
}

impl StreamFollower {
    /// Returns a follower of every entry of one of [`subjects`]' streams.
    pub fn new(bus: Bus, stream: &'static str, start: StartPosition) -> Self {
        Self {
            bus,
            stream,
            start,
            filters: Vec::new(),
            batch_size: DEFAULT_BATCH_SIZE,
            created_at: None,
            next_sequence: 1,
            last_sequence: 0,
            is_caught_up: false,
            dropped_before: None,
            active_pull: None,
        }
    }

    /// Returns the follower of only those entries whose subject matches one of the patterns, none of which may include
    /// another. Without patterns it returns all entries.
    #[must_use]
    pub fn with_filters(self, filters: Vec<String>) -> Self {
        Self { filters, ..self }
    }

    /// Returns the follower with this many entries a pull request; it holds at most twice as many.
    #[must_use]
    pub fn with_batch_size(self, batch: usize) -> Self {
        Self {
            batch_size: batch.max(1),
            ..self
        }
    }

    /// Sets where the follower restarts when the stream turns out to be another one, or to be truncated. The default is its
    /// start position; for [`StartPosition::From`], the first entry.
    pub fn set_restart_position(&mut self, start: StartPosition) {
        self.start = start;
    }

    /// Returns the connection.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Returns the highest sequence that the stream is known to have, returned or not.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Returns the first sequence that the stream still had when it dropped entries that the follower had not returned; once.
    /// With filters, those may have been other subjects' entries.
    pub fn take_dropped(&mut self) -> Option<u64> {
        self.dropped_before.take()
    }

    /// Waits for the next event. After an error, the next call continues at the same position, and so it does where a caller
    /// stops waiting.
    ///
    /// # Errors
    /// When the stream does not exist, or the server does not reply.
    pub async fn next(&mut self) -> Result<FollowEvent, BusError> {
        loop {
            let Some(pull) = &mut self.active_pull else {
                if let Some(extent) = self.refresh_extent().await? {
                    return Ok(FollowEvent::Started(extent));
                }
                self.active_pull = Some(self.open_pull().await?);
                continue;
            };
            if !self.is_caught_up && pull.pending == 0 {
                self.is_caught_up = true;
                return Ok(FollowEvent::CaughtUp);
            }
            // A caller may stop waiting here: the consumer and its position are kept.
            let read = pull.next_entry(&self.bus, self.batch_size).await;
            // An entry before the position was returned already: the stream is read again.
            let entry = match read {
                Ok(Some(entry)) if entry.sequence >= self.next_sequence => entry,
                Ok(_) => {
                    self.active_pull = None;
                    sleep(RESTART_DELAY).await;
                    continue;
                }
                Err(error) => {
                    self.active_pull = None;
                    return Err(error);
                }
            };
            self.next_sequence = entry.sequence + 1;
            self.last_sequence = self.last_sequence.max(entry.sequence);
            return Ok(FollowEvent::Entry(entry));
        }
    }

    /// Reads the stream. Returns its extent if it is not the one that was read before.
    async fn refresh_extent(&mut self) -> Result<Option<StreamExtent>, BusError> {
        let requested = self.bus.jetstream.get_stream(self.stream);
        let stream = with_timeout(self.bus.request_timeout(), "reading the extent of a stream", requested).await?;
        let info = stream.cached_info();
        let created = timestamp_from_nanoseconds(info.created.unix_timestamp_nanos());
        let (first, last) = (info.state.first_sequence.max(1), info.state.last_sequence);
        let (end, is_known) = (last + 1, self.created_at == Some(created));
        self.last_sequence = last;
        if is_known && self.next_sequence <= end {
            if self.next_sequence < first {
                self.dropped_before = Some(first);
                self.next_sequence = first;
            }
            return Ok(None);
        }
        let next = match self.start {
            StartPosition::Last(most) => end.saturating_sub(most),
            StartPosition::From(sequence) if self.created_at.is_none() && sequence <= end => sequence,
            StartPosition::New if self.created_at.is_none() || is_known => end,
            StartPosition::From(_) | StartPosition::New => first,
        };
        self.created_at = Some(created);
        self.next_sequence = next.max(first);
        self.is_caught_up = false;
        Ok(Some(StreamExtent {
            created_at: created,
            first_sequence: first,
            last_sequence: last,
            next_sequence: self.next_sequence,
        }))
    }

    async fn open_pull(&self) -> Result<ActivePull, BusError> {
        let config = ephemeral_consumer(self.next_sequence, self.filters.clone());
        let (bus, limit) = (&self.bus, self.bus.request_timeout());
        let created = bus.jetstream.create_consumer_on_stream(config, self.stream);
        let consumer: PullConsumer = with_timeout(limit, OPERATION, created).await?;
        let info = consumer.cached_info();
        // A server without support for several filters ignores them, and would deliver other accounts' entries.
        if info.config.filter_subjects.len() != self.filters.len() {
            return Err(BusError::ServerTooOld(bus.client.server_info().version));
        }
        let inbox = bus.client.new_inbox();
        let messages = with_timeout(limit, OPERATION, bus.client.subscribe(inbox.clone())).await?;
        Ok(ActivePull {
            messages,
            inbox,
            pull_subject: subjects::pull_request(self.stream, &info.name),
            expected_sequence: 1,
            requested: 0,
            pending: info.num_pending,
        })
    }
}

impl ActivePull {
    /// Waits for the next entry; `None` if the consumer is lost, or a delivery is missing.
    async fn next_entry(&mut self, bus: &Bus, batch: usize) -> Result<Option<StoredEntry>, BusError> {
        loop {
            // The next request is sent before this one is used up; a stream without further entries needs none.
            while self.requested == 0 || (self.requested <= batch && self.pending > self.requested as u64) {
                self.request_batch(bus, batch).await?;
            }
            let Ok(Some(message)) = timeout(SILENCE_TIMEOUT, self.messages.next()).await else {
                return Ok(None);
            };
            match message.status {
                None | Some(StatusCode::OK) => return self.accept_delivery(bus, message),
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::TIMEOUT) => match parse_undelivered(&message) {
                    Some(unserved) => self.requested = self.requested.saturating_sub(unserved),
                    None => return Ok(None),
                },
                // The consumer was deleted, or the server restarted.
                Some(_) => return Ok(None),
            }
        }
    }

    fn accept_delivery(&mut self, bus: &Bus, message: Message) -> Result<Option<StoredEntry>, BusError> {
        let context = bus.jetstream.clone();
        let (position, entry) = read_delivery(&jetstream::Message { message, context })?;
        if position.consumer_sequence != self.expected_sequence {
            return Ok(None);
        }
        self.expected_sequence += 1;
        self.requested = self.requested.saturating_sub(1);
        self.pending = position.pending;
        Ok(Some(entry))
    }

    async fn request_batch(&mut self, bus: &Bus, batch: usize) -> Result<(), BusError> {
        let (subject, reply) = (self.pull_subject.clone(), self.inbox.clone());
        request_batch(bus, OPERATION, subject, reply, batch, PULL_EXPIRES).await?;
        self.requested += batch;
        Ok(())
    }
}

/// Returns how many entries an expired request did not deliver.
fn parse_undelivered(message: &Message) -> Option<usize> {
    let value = message.headers.as_ref()?.get(headers::PENDING_MESSAGES)?;
    value.as_str().parse().ok()
}
