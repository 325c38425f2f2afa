//! Replaying a stream: every entry of a range in order, with missing entries reported.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::pull_consumer::ephemeral_consumer;
use crate::bus::stream_entry::{StoredEntry, read_delivery};

/// The maximum number of entries that a replay buffers.
const REPLAY_BATCH: usize = 256;
/// The number of consecutive fetches without an entry after which a replay fails.
const MAX_EMPTY_FETCHES: u32 = 5;
/// The delay after a fetch without an entry.
const EMPTY_FETCH_DELAY: Duration = Duration::from_millis(200);
const OPERATION: &str = "replaying the journal";

/// An entry, and the headers that it was appended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReplayedEntry {
    pub(super) entry: StoredEntry,
    pub(super) headers: BTreeMap<String, Vec<String>>,
}

/// An entry, and its headers as they were delivered.
type DeliveredEntry = (StoredEntry, Option<HeaderMap>);

/// A replay in progress.
pub(super) struct StreamReplay {
    bus: Bus,
    stream: &'static str,
    /// Whether the entries come without their bodies.
    is_headers_only: bool,
    /// The consumer on the server, and the number that its next delivery must have.
    consumer: Option<(PullConsumer, u64)>,
    /// The sequence of the next entry to return.
    next_sequence: u64,
    to_sequence: u64,
    buffered: VecDeque<DeliveredEntry>,
    has_failed: bool,
}

impl StreamReplay {
    /// Returns the replay of a stream's entries from one sequence to another, both included.
    pub(super) fn new(bus: Bus, stream: &'static str, from_sequence: u64, to_sequence: u64) -> Self {
        Self {
            bus,
            stream,
            is_headers_only: false,
            consumer: None,
            next_sequence: from_sequence.max(1),
            to_sequence,
            buffered: VecDeque::new(),
            has_failed: false,
        }
    }

    /// Returns the replay of the entries without their bodies.
    pub(super) fn headers_only(self) -> Self {
        Self {
            is_headers_only: true,
            ..self
        }
    }

    /// Returns the next entry with its headers, or gap; `None` at the end of the range and after any other error.
    pub(super) async fn next(&mut self) -> Option<Result<ReplayedEntry, BusError>> {
        let next = self.next_delivered().await?;
        Some(next.map(|(entry, headers)| ReplayedEntry {
            entry,
            headers: headers.as_ref().map(header_values).unwrap_or_default(),
        }))
    }

    /// As [`StreamReplay::next`], without the headers.
    pub(super) async fn next_entry(&mut self) -> Option<Result<StoredEntry, BusError>> {
        let next = self.next_delivered().await?;
        Some(next.map(|(entry, _)| entry))
    }

    /// Returns what both do, with the headers as they were delivered: most readers need none.
    async fn next_delivered(&mut self) -> Option<Result<DeliveredEntry, BusError>> {
        if self.has_failed || self.next_sequence > self.to_sequence {
            return None;
        }
        let mut empty_fetches = 0;
        while self.buffered.is_empty() {
            match self.fetch().await {
                Ok(()) if !self.buffered.is_empty() => {}
                Ok(()) | Err(_) if empty_fetches < MAX_EMPTY_FETCHES => {
                    empty_fetches += 1;
                    // The server may have restarted and lost the consumer: a new one continues at the same sequence.
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
        let sequence = self.buffered.front()?.0.sequence;
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

    fn fail(&mut self, error: BusError) -> Option<Result<DeliveredEntry, BusError>> {
        self.has_failed = true;
        Some(Err(error))
    }

    /// Fetches the next entries, up to the first one that was lost in transit.
    async fn fetch(&mut self) -> Result<(), BusError> {
        let limit = self.bus.request_timeout();
        let (consumer, mut expected) = match self.consumer.take() {
            Some(consumer) => consumer,
            None => (self.create_consumer().await?, 1),
        };
        // At most the entries of the range, and without a wait: the server reports at once that it has no more.
        let remaining =
            usize::try_from(self.to_sequence - self.next_sequence).map_or(REPLAY_BATCH, |last| last.saturating_add(1));
        let requested = consumer.fetch().max_messages(remaining.min(REPLAY_BATCH)).messages();
        let mut batch = with_timeout(limit, OPERATION, requested).await?;
        loop {
            let message = match timeout(limit, batch.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(BusError::Refused(error.to_string())),
                Err(_) => return Err(BusError::TimedOut(limit, OPERATION)),
            };
            let (position, entry) = read_delivery(&message)?;
            if expected != position.consumer_sequence || entry.sequence < self.next_sequence {
                // Lost in transit, not missing in the journal: the next fetch starts here.
                return Ok(());
            }
            expected = position.consumer_sequence + 1;
            self.buffered.push_back((entry, message.message.headers));
        }
        self.consumer = Some((consumer, expected));
        Ok(())
    }

    async fn create_consumer(&self) -> Result<PullConsumer, BusError> {
        let config = pull::Config {
            headers_only: self.is_headers_only,
            ..ephemeral_consumer(self.next_sequence, Vec::new())
        };
        let created = self.bus.jetstream.create_consumer_on_stream(config, self.stream);
        with_timeout(self.bus.request_timeout(), OPERATION, created).await
    }
}

fn header_values(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let text = |value: &async_nats::HeaderValue| value.as_str().to_owned();
    let values = headers.iter();
    values
        .map(|(name, values)| (name.to_string(), values.iter().map(text).collect()))
        .collect()
}
