//! Reading the journal: single entries, its extent, and all of it in order.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream as JetStream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{sleep, timeout};

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::subjects;
use crate::domain::time::Timestamp;

/// The most entries a replay holds in memory.
const REPLAY_BATCH: usize = 256;
/// How often in a row a replay may get nothing before it gives up.
const MAX_EMPTY_FETCHES: u32 = 5;
/// The pause after a fruitless attempt.
const EMPTY_FETCH_DELAY: Duration = Duration::from_millis(200);
/// How long the server keeps an abandoned replay's consumer.
const CONSUMER_INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);

/// One entry as it stands on the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The subject it is kept under.
    pub subject: String,
    /// Its place.
    pub sequence: u64,
    /// The event's JSON.
    pub body: Bytes,
    /// When the stream took it.
    pub stored_at: Timestamp,
}

/// The extent of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalExtent {
    /// The sequence of its first entry; 0 when it never had one.
    pub first_sequence: u64,
    /// The sequence of its last entry; 0 when it never had one.
    pub last_sequence: u64,
    /// When the stream was created: another time means another journal.
    pub created_at: Timestamp,
    /// Its size in bytes.
    pub bytes: u64,
    /// The size it may reach, or -1.
    pub max_bytes: i64,
}

/// Reads the journal.
#[derive(Debug, Clone)]
pub struct JournalReader {
    bus: Bus,
}

impl JournalReader {
    /// Returns a reader on this connection.
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Returns the entry at a sequence, or `None` when there is none.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn read_entry(&self, sequence: u64) -> Result<Option<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        let got = async {
            match journal.direct_get(sequence).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let message = with_timeout(self.bus.request_timeout(), "reading the journal", got).await?;
        Ok(message.map(to_stored_entry))
    }

    /// Returns the newest entry of a subject, or `None` when there is none.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn read_last_for_subject(&self, subject: &str) -> Result<Option<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        let got = async {
            match journal.direct_get_last_for_subject(subject).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let message = with_timeout(self.bus.request_timeout(), "reading the journal", got).await?;
        Ok(message.map(to_stored_entry))
    }

    /// Returns the first entry from a sequence on whose subject fits a pattern, or `None` when there is none.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn read_next_for_subject(
        &self,
        pattern: &str,
        from_sequence: u64,
    ) -> Result<Option<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        let got = async {
            match journal
                .direct_get_next_for_subject(pattern, Some(from_sequence.max(1)))
                .await
            {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let message = with_timeout(self.bus.request_timeout(), "reading the journal", got).await?;
        Ok(message.map(to_stored_entry))
    }

    /// Returns the extent of the journal.
    ///
    /// # Errors
    /// When the stream is not there or does not answer.
    pub async fn read_extent(&self) -> Result<JournalExtent, BusError> {
        let asked = self.bus.jetstream.get_stream(subjects::STREAM_REPORTS);
        let journal = with_timeout(self.bus.request_timeout(), "asking for the journal's extent", asked).await?;
        let info = journal.cached_info();
        Ok(JournalExtent {
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
            created_at: timestamp_from_nanoseconds(info.created.unix_timestamp_nanos()),
            bytes: info.state.bytes,
            max_bytes: info.config.max_bytes,
        })
    }

    /// Returns every entry from one sequence to another, both included, in order.
    ///
    /// Holes in the journal are told as [`BusError::Gap`], each once and at its place; the entries after a hole follow.
    /// Any other error is the end: the stream did not give the entries up to `to_sequence` within a bounded time.
    pub fn replay(
        &self,
        from_sequence: u64,
        to_sequence: u64,
    ) -> impl Stream<Item = Result<StoredEntry, BusError>> + Send + use<> {
        let replay = JournalReplay {
            reader: self.clone(),
            consumer: None,
            next_sequence: from_sequence.max(1),
            to_sequence,
            buffered: VecDeque::new(),
            has_failed: false,
        };
        stream::unfold(replay, |mut replay| async move {
            let item = replay.next().await?;
            Some((item, replay))
        })
    }

    async fn stream_handle(&self) -> Result<JetStream<()>, BusError> {
        let named = self.bus.jetstream.get_stream_no_info(subjects::STREAM_REPORTS);
        with_timeout(self.bus.request_timeout(), "naming the journal", named).await
    }
}

struct JournalReplay {
    reader: JournalReader,
    /// The server's end, and the place its next delivery must have.
    consumer: Option<(PullConsumer, u64)>,
    /// The sequence that is told next.
    next_sequence: u64,
    to_sequence: u64,
    buffered: VecDeque<StoredEntry>,
    has_failed: bool,
}

impl JournalReplay {
    async fn next(&mut self) -> Option<Result<StoredEntry, BusError>> {
        if self.has_failed || self.next_sequence > self.to_sequence {
            return None;
        }
        let mut fruitless = 0;
        while self.buffered.is_empty() {
            match self.fetch().await {
                Ok(()) if !self.buffered.is_empty() => {}
                Ok(()) | Err(_) if fruitless < MAX_EMPTY_FETCHES => {
                    fruitless += 1;
                    // The server may have restarted and lost it; a new one goes on at the same place.
                    self.consumer = None;
                    sleep(EMPTY_FETCH_DELAY).await;
                }
                Ok(()) => {
                    return self.fail(BusError::JournalGap {
                        from: self.next_sequence,
                        to: self.to_sequence,
                    });
                }
                Err(error) => return self.fail(error),
            }
        }
        let sequence = self.buffered.front()?.sequence;
        if sequence > self.next_sequence {
            let gap = BusError::JournalGap {
                from: self.next_sequence,
                to: self.to_sequence.min(sequence - 1),
            };
            self.next_sequence = sequence;
            return Some(Err(gap));
        }
        self.next_sequence = sequence + 1;
        self.buffered.pop_front().map(Ok)
    }

    fn fail(&mut self, error: BusError) -> Option<Result<StoredEntry, BusError>> {
        self.has_failed = true;
        Some(Err(error))
    }

    /// Takes the next entries from the server, as far as they follow each other without a loss on the way.
    async fn fetch(&mut self) -> Result<(), BusError> {
        let limit = self.reader.bus.request_timeout();
        let (consumer, mut expected) = match self.consumer.take() {
            Some(consumer) => consumer,
            None => (self.create_consumer().await?, 1),
        };
        // No more than there should be, and without a wait: where nothing is left the server says so at once.
        let left =
            usize::try_from(self.to_sequence - self.next_sequence).map_or(REPLAY_BATCH, |left| left.saturating_add(1));
        let asked = consumer.fetch().max_messages(left.min(REPLAY_BATCH)).messages();
        let mut batch = with_timeout(limit, "replaying the journal", asked).await?;
        loop {
            let message = match timeout(limit, batch.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(BusError::Refused(error.to_string())),
                Err(_) => return Err(BusError::TimedOut(limit, "replaying the journal")),
            };
            let (placing, entry) = read_delivery(&message)?;
            if expected != placing.consumer_sequence || entry.sequence < self.next_sequence {
                // Lost on the way, not missing in the journal: from here on, again.
                return Ok(());
            }
            expected = placing.consumer_sequence + 1;
            self.buffered.push_back(entry);
        }
        self.consumer = Some((consumer, expected));
        Ok(())
    }

    async fn create_consumer(&self) -> Result<PullConsumer, BusError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.next_sequence,
            },
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_INACTIVE_THRESHOLD,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let bus = &self.reader.bus;
        let created = bus
            .jetstream
            .create_consumer_on_stream(config, subjects::STREAM_REPORTS);
        with_timeout(bus.request_timeout(), "replaying the journal", created).await
    }
}

/// Where an entry stands among what a consumer delivers.
pub(crate) struct DeliveryPosition {
    /// Its place, from 1.
    pub(crate) consumer_sequence: u64,
    /// How many entries the server had for the consumer after it.
    pub(crate) pending: u64,
}

/// Returns an entry that a consumer delivered.
///
/// # Errors
/// When the message does not tell where it stands.
pub(crate) fn read_delivery(message: &Message) -> Result<(DeliveryPosition, StoredEntry), BusError> {
    let info = message.info().map_err(|error| BusError::Refused(error.to_string()))?;
    let placing = DeliveryPosition {
        consumer_sequence: info.consumer_sequence,
        pending: info.pending,
    };
    let entry = StoredEntry {
        subject: message.subject.to_string(),
        sequence: info.stream_sequence,
        body: message.payload.clone(),
        stored_at: timestamp_from_nanoseconds(info.published.unix_timestamp_nanos()),
    };
    Ok((placing, entry))
}

fn to_stored_entry(message: StreamMessage) -> StoredEntry {
    StoredEntry {
        subject: message.subject.to_string(),
        sequence: message.sequence,
        body: message.payload,
        stored_at: timestamp_from_nanoseconds(message.time.unix_timestamp_nanos()),
    }
}

pub(crate) fn timestamp_from_nanoseconds(nanoseconds: i128) -> Timestamp {
    let micros = u64::try_from(nanoseconds.div_euclid(1_000)).unwrap_or(0);
    Timestamp::from_milliseconds(0).saturating_add(Duration::from_micros(micros))
}
