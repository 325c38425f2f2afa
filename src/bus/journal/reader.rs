//! Reading the journal: single entries, its extent, and a range of it in order. What the journal has dropped is read from
//! its archive.

use async_nats::error::Error;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream as JetStream};
use futures_util::{Stream, stream};

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::journal::archive::{JournalArchive, read_stream_info};
use crate::bus::journal::replay::StreamReplay;
use crate::bus::stream_entry::{StoredEntry, timestamp_from_nanoseconds};
use crate::bus::subjects;
use crate::domain::time::Timestamp;

/// The sequence of the first entry of every stream.
const FIRST_SEQUENCE: u64 = 1;

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
    archive: JournalArchive,
}

/// A replay of the journal and its archive.
struct JournalReplay {
    journal: StreamReplay,
    archive: JournalArchive,
    /// The first and last sequence that the journal lacks and the archive may have.
    missing: Option<(u64, u64)>,
    has_failed: bool,
}

impl JournalReader {
    /// Returns a reader on this connection.
    pub fn new(bus: Bus) -> Self {
        Self {
            archive: JournalArchive::new(bus.clone()),
            bus,
        }
    }

    /// Returns the entry at a sequence, or `None` if neither the journal nor its archive has one there.
    ///
    /// # Errors
    /// When a stream does not reply, or the entry's segment of the archive is damaged.
    pub async fn read_entry(&self, sequence: u64) -> Result<Option<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        match self.direct_get(journal.direct_get(sequence)).await? {
            None if self.has_dropped_entries().await? => self.archive.read_first(sequence, sequence).await,
            found => Ok(found),
        }
    }

    /// Returns the newest entry of a subject, or `None` if neither the journal nor its archive has one.
    ///
    /// # Errors
    /// As [`JournalReader::read_entry`].
    pub async fn read_last_for_subject(&self, subject: &str) -> Result<Option<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        match self.direct_get(journal.direct_get_last_for_subject(subject)).await? {
            None if self.has_dropped_entries().await? => self.archive.read_last_for_subject(subject).await,
            found => Ok(found),
        }
    }

    /// Returns the first entries at or after a sequence whose subjects match a pattern, at most `limit`, in their order.
    /// Neither the journal nor its archive has another one between them.
    ///
    /// # Errors
    /// As [`JournalReader::read_entry`].
    pub async fn read_next_for_subject(
        &self,
        pattern: &str,
        from_sequence: u64,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, BusError> {
        let journal = self.stream_handle().await?;
        let mut entries: Vec<StoredEntry> = Vec::new();
        let next = |entries: &[StoredEntry]| entries.last().map_or(from_sequence.max(1), |last| last.sequence + 1);
        while entries.len() < limit {
            let in_journal = journal.direct_get_next_for_subject(pattern, Some(next(&entries)));
            match self.direct_get(in_journal).await? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        // The archive is read second: an entry that the journal has dropped in between is found there.
        if !self.has_dropped_entries().await? {
            return Ok(entries);
        }
        let in_journal = std::mem::take(&mut entries);
        while entries.len() < limit {
            let from = next(&entries);
            let archived = self.archive.read_next_for_subject(pattern, from).await?;
            let in_journal = in_journal.iter().find(|entry| entry.sequence >= from);
            let found = archived.into_iter().chain(in_journal.cloned());
            match found.min_by_key(|entry| entry.sequence) {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        Ok(entries)
    }

    /// Returns the first sequence from which on archive and journal together have every entry that the journal had at its
    /// start, or 0 for a journal that never had an entry. A journal that was archived has not lost its beginning: this is 1.
    ///
    /// # Errors
    /// When a stream does not reply.
    pub async fn first_covered_sequence(&self) -> Result<u64, BusError> {
        let extent = self.read_extent().await?;
        self.first_covered_of(&extent).await
    }

    /// Returns [`JournalReader::first_covered_sequence`] for a journal of this extent.
    ///
    /// # Errors
    /// When a stream does not reply.
    pub(super) async fn first_covered_of(&self, extent: &JournalExtent) -> Result<u64, BusError> {
        match extent.first_sequence {
            first @ 0..=FIRST_SEQUENCE => Ok(first),
            first => self.archive.first_covered_before(first).await,
        }
    }

    /// Reports whether the journal has dropped or lost its first entries. While it has not, no archive is read.
    async fn has_dropped_entries(&self) -> Result<bool, BusError> {
        Ok(self.read_extent().await?.first_sequence > FIRST_SEQUENCE)
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
        let found = read_stream_info(&self.bus, subjects::STREAM_REPORTS, "reading the journal's extent").await?;
        let Some(info) = found else { return Ok(None) };
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
    /// An entry that the journal has dropped is read from the archive. A gap in both is returned as
    /// [`BusError::JournalGap`], once and in its position; the entries after it follow.
    /// Any other error ends the replay: the stream did not deliver the entries up to `to_sequence` within a bounded time.
    pub fn replay(
        &self,
        from_sequence: u64,
        to_sequence: u64,
    ) -> impl Stream<Item = Result<StoredEntry, BusError>> + Send + use<> {
        let replay = JournalReplay {
            journal: StreamReplay::new(self.bus.clone(), subjects::STREAM_REPORTS, from_sequence, to_sequence),
            archive: self.archive.clone(),
            missing: None,
            has_failed: false,
        };
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

impl JournalReplay {
    /// Returns the next entry or gap; `None` at the end of the range and after any other error.
    async fn next(&mut self) -> Option<Result<StoredEntry, BusError>> {
        if self.has_failed {
            return None;
        }
        if self.missing.is_none() {
            match self.journal.next_entry().await? {
                Ok(entry) => return Some(Ok(entry)),
                Err(BusError::JournalGap { from, to }) => self.missing = Some((from, to)),
                Err(error) => return Some(Err(error)),
            }
        }
        let (from, to) = self.missing?;
        let archived = match self.archive.read_first(from, to).await {
            Ok(archived) => archived,
            Err(error) => {
                self.has_failed = true;
                return Some(Err(error));
            }
        };
        match archived {
            None => {
                self.missing = None;
                Some(Err(BusError::JournalGap { from, to }))
            }
            Some(entry) if entry.sequence > from => {
                self.missing = Some((entry.sequence, to));
                let to = entry.sequence - 1;
                Some(Err(BusError::JournalGap { from, to }))
            }
            Some(entry) => {
                self.missing = (from < to).then_some((from + 1, to));
                Some(Ok(entry))
            }
        }
    }
}
