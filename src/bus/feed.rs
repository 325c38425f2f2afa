//! Following a stream: from a place on, each entry once and in its order, and then each new one.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::{Message, StatusCode, Subscriber, jetstream};
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::connection::{Bus, BusError, within};
use super::journal::Stored;
use super::journal::reader::{from_nanoseconds, placed};
use super::{headers, subjects};
use crate::domain::time::Timestamp;

/// The entries of one pull request, unless it is told otherwise. Two may be under way.
const BATCH: usize = 512;
/// How long the server keeps a pull request.
const EXPIRES: Duration = Duration::from_secs(10);
/// How often the server says that it still has it.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the request counts as lost.
const SILENCE: Duration = Duration::from_millis(2_500);
/// How long the server keeps an abandoned follower's consumer.
const CONSUMER_IDLE: Duration = Duration::from_secs(30);
/// The pause before a consumer that was lost is made anew.
const RESTART_PAUSE: Duration = Duration::from_millis(50);
const WHAT: &str = "following a stream";

/// Where a follower begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With so many of the stream's last entries.
    Last(u64),
    /// With the entry at a sequence, or the first one after it. A stream that ends before the one just below it is not
    /// the one that the sequence is of, and is told from its first entry on.
    From(u64),
    /// With what the stream takes from the first look at it on.
    New,
}

/// A stream as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// When it was created: another time means another stream.
    pub created: Timestamp,
    /// The sequence of its first entry, or of the one it will take first.
    pub first_sequence: u64,
    /// The sequence of its last entry; 0 when it never had one.
    pub last_sequence: u64,
    /// The sequence from which on it is told.
    pub next_sequence: u64,
}

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The stream is told from here on. Where something was told before, that belongs to another stream, or to an end
    /// that this one has lost.
    Begun(Extent),
    /// The next entry.
    Entry(Stored),
    /// What the stream held when its reading began has been told; this is said once after each beginning.
    CaughtUp,
}

/// A follower of one stream.
#[derive(Debug)]
pub struct Feed {
    bus: Bus,
    stream: &'static str,
    start: Start,
    filters: Vec<String>,
    batch: usize,
    /// When the stream was created, once it has been looked at.
    created: Option<Timestamp>,
    /// The sequence that is told next at the earliest, and the highest one the stream is known to have.
    next: u64,
    last: u64,
    is_caught_up: bool,
    open: Option<Open>,
}

/// A consumer with pull requests under way.
struct Open {
    messages: Subscriber,
    inbox: String,
    /// Where the consumer is asked.
    subject: String,
    /// The place its next delivery must have.
    expected: u64,
    /// How many entries are asked for and have not come.
    asked: usize,
    /// How many entries the server has for it beyond the last one that came.
    pending: u64,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Open")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// Returns a follower of every entry of one of [`subjects`]' streams.
    pub fn new(bus: Bus, stream: &'static str, start: Start) -> Self {
        Self {
            bus,
            stream,
            start,
            filters: Vec::new(),
            batch: BATCH,
            created: None,
            next: 1,
            last: 0,
            is_caught_up: false,
            open: None,
        }
    }

    /// Returns the follower of those entries alone whose subjects fit one of these patterns, none of which may cover
    /// another; without any it is told all.
    #[must_use]
    pub fn filtered(self, filters: Vec<String>) -> Self {
        Self { filters, ..self }
    }

    /// Returns the follower that asks for so many entries at a time; it holds twice as many at most.
    #[must_use]
    pub fn in_batches_of(self, batch: usize) -> Self {
        Self {
            batch: batch.max(1),
            ..self
        }
    }

    /// Returns the highest sequence the stream is known to have, whether its entry is told or not.
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// Waits for what happens next. After an error it goes on where it was, once the server answers again.
    ///
    /// # Errors
    /// When the stream is not there or does not answer.
    pub async fn next(&mut self) -> Result<Followed, BusError> {
        loop {
            let Some(mut open) = self.open.take() else {
                if let Some(extent) = self.look().await? {
                    return Ok(Followed::Begun(extent));
                }
                self.open = Some(self.consume().await?);
                continue;
            };
            if !self.is_caught_up && open.pending == 0 {
                self.is_caught_up = true;
                self.open = Some(open);
                return Ok(Followed::CaughtUp);
            }
            let taken = open.take(&self.bus, self.batch).await?;
            // One from before the place was told already: a stream that does that is looked at again.
            let Some(entry) = taken.filter(|entry| entry.sequence >= self.next) else {
                sleep(RESTART_PAUSE).await;
                continue;
            };
            self.open = Some(open);
            self.next = entry.sequence + 1;
            self.last = self.last.max(entry.sequence);
            return Ok(Followed::Entry(entry));
        }
    }

    /// Looks at the stream. Returns its extent where it is not the one that was read before.
    async fn look(&mut self) -> Result<Option<Extent>, BusError> {
        let asked = self.bus.jetstream.get_stream(self.stream);
        let stream = within(self.bus.request_timeout(), "asking for a stream's extent", asked).await?;
        let info = stream.cached_info();
        let created = from_nanoseconds(info.created.unix_timestamp_nanos());
        let (first, last) = (info.state.first_sequence.max(1), info.state.last_sequence);
        let (end, is_known) = (last + 1, self.created == Some(created));
        self.last = last;
        if is_known && self.next <= end {
            return Ok(None);
        }
        let next = match self.start {
            Start::Last(most) => end.saturating_sub(most),
            Start::From(sequence) if self.created.is_none() && sequence <= end => sequence,
            Start::New if self.created.is_none() || is_known => end,
            Start::From(_) | Start::New => first,
        };
        self.created = Some(created);
        self.next = next.max(first);
        self.is_caught_up = false;
        Ok(Some(Extent {
            created,
            first_sequence: first,
            last_sequence: last,
            next_sequence: self.next,
        }))
    }

    async fn consume(&self) -> Result<Open, BusError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.next,
            },
            filter_subjects: self.filters.clone(),
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_IDLE,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let (bus, limit) = (&self.bus, self.bus.request_timeout());
        let created = bus.jetstream.create_consumer_on_stream(config, self.stream);
        let consumer: PullConsumer = within(limit, WHAT, created).await?;
        let info = consumer.cached_info();
        // A server that does not know of several filters passes over them, and would tell one account of another.
        if info.config.filter_subjects.len() != self.filters.len() {
            return Err(BusError::TooOld(bus.client.server_info().version));
        }
        let inbox = bus.client.new_inbox();
        let messages = within(limit, WHAT, bus.client.subscribe(inbox.clone())).await?;
        Ok(Open {
            messages,
            inbox,
            subject: subjects::pull(self.stream, &info.name),
            expected: 1,
            asked: 0,
            pending: info.num_pending,
        })
    }
}

impl Open {
    /// Waits for the next entry; `None` where the consumer is gone, or an entry was lost on the way.
    async fn take(&mut self, bus: &Bus, batch: usize) -> Result<Option<Stored>, BusError> {
        loop {
            // The next request is on its way before this one is used up; a stream without more to tell needs none.
            while self.asked == 0 || (self.asked <= batch && self.pending > self.asked as u64) {
                self.ask(bus, batch).await?;
            }
            let Ok(Some(message)) = timeout(SILENCE, self.messages.next()).await else {
                return Ok(None);
            };
            match message.status {
                None | Some(StatusCode::OK) => return self.delivered(bus, message),
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::TIMEOUT) => match unserved(&message) {
                    Some(unserved) => self.asked = self.asked.saturating_sub(unserved),
                    None => return Ok(None),
                },
                // Deleted, restarted, or not there any more.
                Some(_) => return Ok(None),
            }
        }
    }

    fn delivered(&mut self, bus: &Bus, message: Message) -> Result<Option<Stored>, BusError> {
        let context = bus.jetstream.clone();
        let (placing, entry) = placed(&jetstream::Message { message, context })?;
        if placing.place != self.expected {
            return Ok(None);
        }
        self.expected += 1;
        self.asked = self.asked.saturating_sub(1);
        self.pending = placing.pending;
        Ok(Some(entry))
    }

    async fn ask(&mut self, bus: &Bus, batch: usize) -> Result<(), BusError> {
        let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let wish = json!({
            "batch": batch, "expires": nanoseconds(EXPIRES), "idle_heartbeat": nanoseconds(HEARTBEAT),
        });
        let (subject, reply) = (self.subject.clone(), self.inbox.clone());
        let asked = bus.client.publish_with_reply(subject, reply, wish.to_string().into());
        within(bus.request_timeout(), WHAT, asked).await?;
        self.asked += batch;
        Ok(())
    }
}

/// Returns how many entries of a request that has run out did not come.
fn unserved(message: &Message) -> Option<usize> {
    let value = message.headers.as_ref()?.get(headers::PENDING_MESSAGES)?;
    value.as_str().parse().ok()
}
