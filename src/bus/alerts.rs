//! Following the stream of alerts: its last entries first, then each new one, once and in its order.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::connection::{Bus, BusError, within};
use super::journal::Stored;
use super::journal::reader::from_nanoseconds;
use super::subjects;
use crate::domain::time::Timestamp;

/// The most entries one question to the server brings.
const BATCH: usize = 256;
/// How long the server keeps a question open; after that it is seen whether everything is still as it was.
const OPEN_FOR: Duration = Duration::from_secs(2);
/// How long the server keeps an abandoned follower's consumer.
const CONSUMER_IDLE: Duration = Duration::from_secs(30);

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The stream is read from its last entries on; what was told before belongs to another stream.
    Begun,
    /// The next entry.
    Entry(Stored),
    /// What the stream held when it was looked at last has been told.
    CaughtUp,
}

/// A follower of the stream of alerts.
#[derive(Debug)]
pub struct AlertFeed {
    bus: Bus,
    most: u64,
    /// When the stream was created: another time means another stream.
    created: Option<Timestamp>,
    /// The sequence that is told next, and the last one that has to be told before everything is.
    next: u64,
    last: u64,
    is_caught_up: bool,
    open: Option<Open>,
}

/// A consumer with a question under way.
struct Open {
    consumer: PullConsumer,
    batch: pull::Batch,
    /// The place its next delivery must have.
    expected: u64,
    /// Whether the question has brought anything.
    is_fruitful: bool,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Open")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl AlertFeed {
    /// Returns a follower that begins with the last `most` entries.
    pub fn new(bus: Bus, most: u64) -> Self {
        Self {
            bus,
            most,
            created: None,
            next: 1,
            last: 0,
            is_caught_up: false,
            open: None,
        }
    }

    /// Waits for what happens next. After an error it goes on where it was, once the server answers again.
    ///
    /// # Errors
    /// When the stream is not there or does not answer.
    pub async fn next(&mut self) -> Result<Followed, BusError> {
        loop {
            if !self.is_caught_up && self.created.is_some() && self.next > self.last {
                self.is_caught_up = true;
                return Ok(Followed::CaughtUp);
            }
            let Some(open) = self.open.take() else {
                if self.look().await? {
                    return Ok(Followed::Begun);
                }
                let consumer = self.consumer().await?;
                self.open = Some(self.ask(consumer, 1).await?);
                continue;
            };
            if let Some(entry) = self.take(open).await? {
                return Ok(Followed::Entry(entry));
            }
        }
    }

    /// Looks at the stream: what is still to be told of it. Returns whether it is another one than before.
    async fn look(&mut self) -> Result<bool, BusError> {
        let asked = self.bus.jetstream.get_stream(subjects::STREAM_ALERTS);
        let stream = within(self.bus.request_timeout(), "asking for the stream of alerts", asked).await?;
        let info = stream.cached_info();
        let created = from_nanoseconds(info.created.unix_timestamp_nanos());
        self.last = info.state.last_sequence;
        if self.created == Some(created) && self.last + 1 >= self.next {
            return Ok(false);
        }
        self.created = Some(created);
        self.next = (self.last + 1)
            .saturating_sub(self.most)
            .max(info.state.first_sequence)
            .max(1);
        self.is_caught_up = false;
        Ok(true)
    }

    /// Waits for the next entry of a question; `None` where it has ended, or has lost one on the way.
    async fn take(&mut self, mut open: Open) -> Result<Option<Stored>, BusError> {
        let limit = OPEN_FOR + self.bus.request_timeout();
        let message = match timeout(limit, open.batch.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Err(BusError::Refused(error.to_string())),
            Err(_) => return Err(BusError::TimedOut(limit, "following the alerts")),
            Ok(None) if open.is_fruitful => {
                self.open = Some(self.ask(open.consumer, open.expected).await?);
                return Ok(None);
            }
            // Nothing came: the server may have restarted and lost the consumer, or have another stream by now.
            Ok(None) => return Ok(None),
        };
        let (place, entry) = read(&message)?;
        if place != open.expected || entry.sequence < self.next {
            // Lost on the way: from here on, again.
            return Ok(None);
        }
        self.next = entry.sequence + 1;
        open.expected = place + 1;
        open.is_fruitful = true;
        self.open = Some(open);
        Ok(Some(entry))
    }

    async fn ask(&self, consumer: PullConsumer, expected: u64) -> Result<Open, BusError> {
        let asked = consumer.batch().max_messages(BATCH).expires(OPEN_FOR).messages();
        let batch = within(self.bus.request_timeout(), "following the alerts", asked).await?;
        Ok(Open {
            consumer,
            batch,
            expected,
            is_fruitful: false,
        })
    }

    async fn consumer(&self) -> Result<PullConsumer, BusError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.next,
            },
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_IDLE,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let jetstream = &self.bus.jetstream;
        let created = jetstream.create_consumer_on_stream(config, subjects::STREAM_ALERTS);
        within(self.bus.request_timeout(), "following the alerts", created).await
    }
}

/// Returns an entry, and its place among what the consumer delivers.
fn read(message: &Message) -> Result<(u64, Stored), BusError> {
    let info = message.info().map_err(|error| BusError::Refused(error.to_string()))?;
    let entry = Stored {
        subject: message.subject.to_string(),
        sequence: info.stream_sequence,
        body: message.payload.clone(),
        time: from_nanoseconds(info.published.unix_timestamp_nanos()),
    };
    Ok((info.consumer_sequence, entry))
}
