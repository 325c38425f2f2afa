//! Following a stream: from a place on, each entry once and in its order, and then each new one.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::{Message, StatusCode, Subscriber, jetstream};
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::journal::StoredEntry;
use crate::bus::journal::reader::{read_delivery, timestamp_from_nanoseconds};
use crate::bus::{headers, subjects};
use crate::domain::time::Timestamp;

/// The entries of one pull request, unless it is told otherwise. Two may be under way.
const DEFAULT_BATCH_SIZE: usize = 512;
/// How long the server keeps a pull request.
const PULL_EXPIRES: Duration = Duration::from_secs(10);
/// How often the server says that it still has it.
const PULL_HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the request counts as lost.
const SILENCE_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How long the server keeps an abandoned follower's consumer.
const CONSUMER_INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);
/// The pause before a consumer that was lost is made anew.
const RESTART_DELAY: Duration = Duration::from_millis(50);
const OPERATION: &str = "following a stream";

/// Where a follower begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// With so many of the stream's last entries.
    Last(u64),
    /// With the entry at a sequence, or the first one after it. A stream that ends before the one just below it is not
    /// the one that the sequence is of, and is told from its first entry on.
    From(u64),
    /// With what the stream takes from the first look at it on. One that was made in its place is new as a whole.
    New,
}

/// A stream as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamExtent {
    /// When it was created: another time means another stream.
    pub created_at: Timestamp,
    /// The sequence of its first entry, or of the one it will take first.
    pub first_sequence: u64,
    /// The sequence of its last entry; 0 when it never had one.
    pub last_sequence: u64,
    /// The sequence from which on it is told.
    pub next_sequence: u64,
}

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowEvent {
    /// The stream is told from here on. Where something was told before, that belongs to another stream, or to an end
    /// that this one has lost.
    Started(StreamExtent),
    /// The next entry.
    Entry(StoredEntry),
    /// What the stream held when its reading began has been told; this is said once after each beginning.
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
    /// When the stream was created, once it has been looked at.
    created_at: Option<Timestamp>,
    /// The sequence that is told next at the earliest, and the highest one the stream is known to have.
    next_sequence: u64,
    last_sequence: u64,
    is_caught_up: bool,
    active_pull: Option<ActivePull>,
}

/// A consumer with pull requests under way.
struct ActivePull {
    messages: Subscriber,
    inbox: String,
    /// Where the consumer is asked.
    pull_subject: String,
    /// The place its next delivery must have.
    expected_sequence: u64,
    /// How many entries are asked for and have not come.
    requested: usize,
    /// How many entries the server has for it beyond the last one that came.
    pending: u64,
}

impl std::fmt::Debug for ActivePull {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Open")
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
            active_pull: None,
        }
    }

    /// Returns the follower of those entries alone whose subjects fit one of these patterns, none of which may cover
    /// another; without any it is told all.
    #[must_use]
    pub fn with_filters(self, filters: Vec<String>) -> Self {
        Self { filters, ..self }
    }

    /// Returns the follower that asks for so many entries at a time; it holds twice as many at most.
    #[must_use]
    pub fn with_batch_size(self, batch: usize) -> Self {
        Self {
            batch_size: batch.max(1),
            ..self
        }
    }

    /// Says where it begins again where the stream turns out to be another one, or to be cut. Until this is said, that is
    /// where it began; for [`Start::From`], with the first entry.
    pub fn set_restart_position(&mut self, start: StartPosition) {
        self.start = start;
    }

    /// Returns the highest sequence the stream is known to have, whether its entry is told or not.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Waits for what happens next. After an error it goes on where it was, once the server answers again.
    ///
    /// # Errors
    /// When the stream is not there or does not answer.
    pub async fn next(&mut self) -> Result<FollowEvent, BusError> {
        loop {
            let Some(mut open) = self.active_pull.take() else {
                if let Some(extent) = self.refresh_extent().await? {
                    return Ok(FollowEvent::Started(extent));
                }
                self.active_pull = Some(self.open_pull().await?);
                continue;
            };
            if !self.is_caught_up && open.pending == 0 {
                self.is_caught_up = true;
                self.active_pull = Some(open);
                return Ok(FollowEvent::CaughtUp);
            }
            let taken = open.next_entry(&self.bus, self.batch_size).await?;
            // One from before the place was told already: a stream that does that is looked at again.
            let Some(entry) = taken.filter(|entry| entry.sequence >= self.next_sequence) else {
                sleep(RESTART_DELAY).await;
                continue;
            };
            self.active_pull = Some(open);
            self.next_sequence = entry.sequence + 1;
            self.last_sequence = self.last_sequence.max(entry.sequence);
            return Ok(FollowEvent::Entry(entry));
        }
    }

    /// Looks at the stream. Returns its extent where it is not the one that was read before.
    async fn refresh_extent(&mut self) -> Result<Option<StreamExtent>, BusError> {
        let asked = self.bus.jetstream.get_stream(self.stream);
        let stream = with_timeout(self.bus.request_timeout(), "asking for a stream's extent", asked).await?;
        let info = stream.cached_info();
        let created = timestamp_from_nanoseconds(info.created.unix_timestamp_nanos());
        let (first, last) = (info.state.first_sequence.max(1), info.state.last_sequence);
        let (end, is_known) = (last + 1, self.created_at == Some(created));
        self.last_sequence = last;
        if is_known && self.next_sequence <= end {
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
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.next_sequence,
            },
            filter_subjects: self.filters.clone(),
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_INACTIVE_THRESHOLD,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let (bus, limit) = (&self.bus, self.bus.request_timeout());
        let created = bus.jetstream.create_consumer_on_stream(config, self.stream);
        let consumer: PullConsumer = with_timeout(limit, OPERATION, created).await?;
        let info = consumer.cached_info();
        // A server that does not know of several filters passes over them, and would tell one account of another.
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
    /// Waits for the next entry; `None` where the consumer is gone, or an entry was lost on the way.
    async fn next_entry(&mut self, bus: &Bus, batch: usize) -> Result<Option<StoredEntry>, BusError> {
        loop {
            // The next request is on its way before this one is used up; a stream without more to tell needs none.
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
                // Deleted, restarted, or not there any more.
                Some(_) => return Ok(None),
            }
        }
    }

    fn accept_delivery(&mut self, bus: &Bus, message: Message) -> Result<Option<StoredEntry>, BusError> {
        let context = bus.jetstream.clone();
        let (placing, entry) = read_delivery(&jetstream::Message { message, context })?;
        if placing.consumer_sequence != self.expected_sequence {
            return Ok(None);
        }
        self.expected_sequence += 1;
        self.requested = self.requested.saturating_sub(1);
        self.pending = placing.pending;
        Ok(Some(entry))
    }

    async fn request_batch(&mut self, bus: &Bus, batch: usize) -> Result<(), BusError> {
        let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let wish = json!({
            "batch": batch, "expires": nanoseconds(PULL_EXPIRES), "idle_heartbeat": nanoseconds(PULL_HEARTBEAT),
        });
        let (subject, reply) = (self.pull_subject.clone(), self.inbox.clone());
        let asked = bus.client.publish_with_reply(subject, reply, wish.to_string().into());
        with_timeout(bus.request_timeout(), OPERATION, asked).await?;
        self.requested += batch;
        Ok(())
    }
}

/// Returns how many entries of a request that has run out did not come.
fn parse_undelivered(message: &Message) -> Option<usize> {
    let value = message.headers.as_ref()?.get(headers::PENDING_MESSAGES)?;
    value.as_str().parse().ok()
}
