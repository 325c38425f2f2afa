//! Reading the journal: single entries, its extent, and a range of it in order.

use async_nats::error::Error;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream as JetStream};
use futures_util::{Stream, stream};

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::journal::replay::JournalReplay;
use crate::bus::stream_entry::{StoredEntry, timestamp_from_nanoseconds};
use crate::bus::subjects;
use crate::domain::time::Timestamp;

/// The extent of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalExtent {
    /// The sequence of its first entry; 0 if it never had one.
    pub first_sequence: u64,
    /// The sequence of its last entry; 0 if it never had one.
    pub last_sequence: u64,
    /// How many entries are missing between its first and its last one.
    pub missing_entries: u64,
    /// When the stream was created: another time means another journal.
    pub created_at: Timestamp,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its maximum size in bytes, or -1 for none.
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

    /// Returns the entry at a sequence, or `None` if the journal has none there.
    ///
    /// # Errors
    /// When the stream does not reply.
    pub async fn read_entry(&self, sequence: u64) -> Result<Option<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        self.direct_get(journal.direct_get(sequence)).await
    }

    /// Returns the newest entry of a subject, or `None` if the journal has none.
    ///
    /// # Errors
    /// When the stream does not reply.
    pub async fn read_last_for_subject(&self, subject: &str) -> Result<Option<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        self.direct_get(journal.direct_get_last_for_subject(subject)).await
    }

    /// Returns the first entry at or after a sequence whose subject matches a pattern, or `None` if the journal has none.
    ///
    /// # Errors
    /// When the stream does not reply.
    pub async fn read_next_for_subject(
        &self,
        pattern: &str,
        from_sequence: u64,
    ) -> Result<Option<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        self.direct_get(journal.direct_get_next_for_subject(pattern, Some(from_sequence.max(1))))
            .await
    }

    /// Returns the extent of the journal.
    ///
    /// # Errors
    /// When the stream does not exist or does not reply.
    pub async fn read_extent(&self) -> Result<JournalExtent, BusError> {
        let missing = || BusError::Refused(format!("the stream {} does not exist", subjects::STREAM_REPORTS));
        self.find_extent().await?.ok_or_else(missing)
    }

    /// Returns the extent of the journal; `None` if the stream does not exist.
    ///
    /// # Errors
    /// When the server does not reply.
    pub async fn find_extent(&self) -> Result<Option<JournalExtent>, BusError> {
        let queried = async {
            match self.bus.jetstream.get_stream(subjects::STREAM_REPORTS).await {
                Ok(journal) => Ok(Some(journal)),
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(reason) if reason.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                        Ok(None)
                    }
                    _ => Err(error),
                },
            }
        };
        let found = with_timeout(self.bus.request_timeout(), "reading the journal's extent", queried).await?;
        let Some(journal) = found else { return Ok(None) };
        let info = journal.cached_info();
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        Ok(Some(JournalExtent {
            first_sequence: first,
            last_sequence: last,
            missing_entries: (last + 1)
                .saturating_sub(first.max(1))
                .saturating_sub(info.state.messages),
            created_at: timestamp_from_nanoseconds(info.created.unix_timestamp_nanos()),
            bytes: info.state.bytes,
            max_bytes: info.config.max_bytes,
        }))
    }

    /// Returns every entry from one sequence to another, both included, in order.
    ///
    /// A gap in the journal is returned as [`BusError::JournalGap`], once and in its position; the entries after it follow.
    /// Any other error ends the replay: the stream did not deliver the entries up to `to_sequence` within a bounded time.
    pub fn replay(
        &self,
        from_sequence: u64,
        to_sequence: u64,
    ) -> impl Stream<Item = Result<StoredEntry, BusError>> + Send + use<> {
        let replay = JournalReplay::new(self.bus.clone(), from_sequence, to_sequence);
        stream::unfold(replay, |mut replay| async move {
            let item = replay.next().await?;
            Some((item, replay))
        })
    }

    async fn stream_handle(&self) -> Result<JetStream<()>, BusError> {
        let opened = self.bus.jetstream.get_stream_no_info(subjects::STREAM_REPORTS);
        with_timeout(self.bus.request_timeout(), "opening the journal", opened).await
    }

    /// Awaits a direct get and returns its entry, or `None` if the stream has no such message.
    async fn direct_get(
        &self,
        message: impl Future<Output = Result<StreamMessage, Error<DirectGetErrorKind>>>,
    ) -> Result<Option<StoredEntry>, BusError> {
        let found = async {
            match message.await {
                Ok(message) => Ok(Some(StoredEntry::from(message))),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        with_timeout(self.bus.request_timeout(), "reading the journal", found).await
    }
}
