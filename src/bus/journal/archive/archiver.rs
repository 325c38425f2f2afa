//! The archiver: writes segments of the journal's oldest entries, checks them against the journal, and lets the journal
//! drop them.
//!
//! Each step can be repeated, and a kill between two of them loses nothing: an entry is dropped only after it was read
//! back from the archive and compared with the journal's own.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Info;
use serde::Serialize;

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::headers;
use crate::bus::journal::archive::manifest::{SegmentManifest, kind_of, segment_name};
use crate::bus::journal::archive::{
    ArchivedSegment, JournalArchive, MAX_SEGMENTS, OPERATION, read_segment, read_stream_info, segment,
};
use crate::bus::journal::replay::{ReplayedEntry, StreamReplay};
use crate::bus::stream_entry::timestamp_from_nanoseconds;
use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;
use crate::domain::time::Timestamp;

/// The maximum number of entries of a segment.
const MAX_SEGMENT_ENTRIES: usize = 4_096;
/// The maximum size of a segment's entries before compression, in bytes; a single entry may be larger.
const MAX_SEGMENT_BYTES: usize = 2 * 1_024 * 1_024;
/// The share of the server's largest message that a compressed segment may have, in percent; the rest is for its headers.
const MAX_MESSAGE_PERCENT: usize = 75;
/// How long a purge may take: the server deletes files.
const PURGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Who archives, and why.
#[derive(Debug, Clone)]
pub struct ArchiveAudit {
    /// Who archives the entries.
    pub actor: String,
    /// Why they are archived.
    pub reason: String,
}

/// What an archiver has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ArchivedEntries {
    /// The number of segments.
    pub segments: u64,
    /// The number of entries.
    pub entries: u64,
    /// The size of the entries before compression, in bytes.
    pub entry_bytes: u64,
    /// The size of the segments, in bytes.
    pub segment_bytes: u64,
}

/// What the journal has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DroppedEntries {
    /// The number of entries.
    pub entries: u64,
    /// The sequence of the last one; `None` if there was none to drop.
    pub last_sequence: Option<u64>,
}

/// Why entries are not archived or not dropped.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The exchange with the server failed, or a segment is damaged.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A stream is missing.
    #[error("the stream {0} does not exist: run `order-router topology` first")]
    NoStream(&'static str),
    /// The time is so late that the journal still recognises repeated appends by the entries before it.
    #[error(
        "entries that are younger than the duplicate window of the journal, {0:?}, stay in it: give an earlier time"
    )]
    TooYoung(Duration),
    /// The entries of a segment cannot be written.
    #[error("the segment {0} cannot be written: {1}; nothing of it is dropped")]
    Unwritable(String, String),
    /// The archive has its maximum number of segments.
    #[error("the archive has {MAX_SEGMENTS} segments, its maximum")]
    TooManySegments,
    /// The archive has another entry than the journal.
    #[error(
        "the segment {segment} of the journal's archive differs from the journal at entry {sequence}; nothing is dropped"
    )]
    Differs {
        /// The segment's first and last sequence.
        segment: String,
        /// The first sequence that differs.
        sequence: u64,
    },
}

/// Archives the journal's entries that were stored before a point in time.
#[derive(Debug)]
pub struct JournalArchiver {
    bus: Bus,
    archive: JournalArchive,
    before: Timestamp,
    audit: ArchiveAudit,
}

/// The entries of the next segment.
#[derive(Default)]
struct SegmentDraft {
    entries: Vec<ReplayedEntry>,
    bytes: usize,
}

impl SegmentDraft {
    fn push(&mut self, entry: ReplayedEntry) {
        self.bytes += entry.entry.body.len() + entry.entry.subject.len();
        self.entries.push(entry);
    }

    fn has_room_for(&self, entry: &ReplayedEntry) -> bool {
        self.entries.len() < MAX_SEGMENT_ENTRIES && self.bytes + entry.entry.body.len() <= MAX_SEGMENT_BYTES
    }
}

impl JournalArchiver {
    /// Returns an archiver of the entries that were stored before a point in time.
    ///
    /// # Errors
    /// When the time is within the journal's duplicate window, or a stream is missing.
    pub async fn open(bus: Bus, before: Timestamp, audit: ArchiveAudit) -> Result<Self, ArchiveError> {
        let archiver = Self {
            archive: JournalArchive::new(bus.clone()),
            bus,
            before,
            audit,
        };
        let window = archiver.journal_info().await?.config.duplicate_window;
        if before.saturating_add(window) > Timestamp::now() {
            return Err(ArchiveError::TooYoung(window));
        }
        archiver.stream_info(subjects::STREAM_ARCHIVE).await?;
        Ok(archiver)
    }

    /// Writes the segments that the archive lacks. Nothing is dropped.
    ///
    /// # Errors
    /// When a segment cannot be written: what was written before stays, and the next call continues after it.
    pub async fn write_segments(&self) -> Result<ArchivedEntries, ArchiveError> {
        let journal = self.journal_info().await?;
        let (mut position, archived) = self.archive_end().await?;
        let first = journal.state.first_sequence.max(archived + 1);
        let (mut written, mut draft) = (ArchivedEntries::default(), SegmentDraft::default());
        let mut entries = self.journal_replay(first, &journal);
        while let Some(entry) = entries.next().await {
            let entry = match entry {
                Ok(entry) if entry.entry.stored_at < self.before => entry,
                Ok(_) => break,
                // A segment has no gap: the next one begins after it.
                Err(BusError::JournalGap { .. }) => {
                    self.write_draft(&journal, &mut position, &mut draft, &mut written)
                        .await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if !draft.has_room_for(&entry) {
                self.write_draft(&journal, &mut position, &mut draft, &mut written)
                    .await?;
            }
            draft.push(entry);
        }
        self.write_draft(&journal, &mut position, &mut draft, &mut written)
            .await?;
        Ok(written)
    }

    /// Reads back every segment whose entries the journal still has, compares them, and lets the journal drop those that
    /// are equal and were stored before the time. The journal keeps its newest entry.
    ///
    /// # Errors
    /// When a segment is damaged or differs: nothing is dropped then.
    pub async fn drop_archived(&self) -> Result<DroppedEntries, ArchiveError> {
        let journal = self.journal_info().await?;
        let first = journal.state.first_sequence;
        let mut checked = DroppedEntries::default();
        let mut entries = self.journal_replay(first, &journal);
        let mut index = self.archive.refreshed().await?;
        while let Some(entry) = entries.next().await {
            let entry = match entry {
                Ok(entry) if entry.entry.stored_at < self.before => entry,
                Ok(_) => break,
                Err(BusError::JournalGap { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let sequence = entry.entry.sequence;
            let Some(segment) = index.find(sequence).cloned() else {
                break;
            };
            let archived = self.archive.load(&mut index, &segment).await?;
            let offset = usize::try_from(sequence - segment.manifest.first_sequence).unwrap_or(usize::MAX);
            if archived.get(offset) != Some(&entry) {
                let segment = segment.manifest.name();
                return Err(ArchiveError::Differs { segment, sequence });
            }
            checked = DroppedEntries {
                entries: checked.entries + 1,
                last_sequence: Some(sequence),
            };
        }
        drop(index);
        if let Some(last) = checked.last_sequence {
            self.purge_through(last).await?;
        }
        Ok(checked)
    }

    /// Returns the journal's entries from a sequence to its newest one, which is left out.
    fn journal_replay(&self, first: u64, journal: &Info) -> StreamReplay {
        let to = journal.state.last_sequence.saturating_sub(1);
        StreamReplay::new(self.bus.clone(), subjects::STREAM_REPORTS, first, to)
    }

    /// Returns the sequence of the archive's newest message, and of the newest entry of this journal in it.
    async fn archive_end(&self) -> Result<(u64, u64), ArchiveError> {
        let index = self.archive.refreshed().await?;
        if index.segments.len() >= MAX_SEGMENTS {
            return Err(ArchiveError::TooManySegments);
        }
        let last = index.segments.last();
        let end = last.map_or(0, |segment| segment.manifest.last_sequence);
        Ok((index.last_position, end))
    }

    /// Writes the entries of a draft and empties it. Entries that do not fit into one message become several segments.
    async fn write_draft(
        &self,
        journal: &Info,
        position: &mut u64,
        draft: &mut SegmentDraft,
        written: &mut ArchivedEntries,
    ) -> Result<(), ArchiveError> {
        let entries = std::mem::take(draft).entries;
        let limit = self.bus.client.server_info().max_payload * MAX_MESSAGE_PERCENT / 100;
        let mut waiting = vec![entries.as_slice()];
        while let Some(part) = waiting.pop() {
            let (Some(first), Some(last)) = (part.first(), part.last()) else {
                continue;
            };
            let name = segment_name(first.entry.sequence, last.entry.sequence);
            let unwritable = |error: String| ArchiveError::Unwritable(name.clone(), error);
            let (manifest, body) = self
                .encode(journal, part)
                .map_err(|error| unwritable(error.to_string()))?;
            if body.len() > limit && part.len() > 1 {
                let (front, back) = part.split_at(part.len() / 2);
                waiting.extend([back, front]);
                continue;
            }
            let message = manifest.encode().map_err(|error| unwritable(error.to_string()))?;
            let segment_bytes = body.len() as u64;
            let appended = self.append(*position, &message, body).await;
            *position = appended.map_err(|error| unwritable(error.to_string()))?;
            // What cannot be read back is reported before the next segment is written.
            let segment = ArchivedSegment {
                position: *position,
                manifest,
            };
            read_segment(&self.bus, &segment).await?;
            written.segments += 1;
            written.entries += segment.manifest.entries;
            written.entry_bytes += segment.manifest.entry_bytes;
            written.segment_bytes += segment_bytes;
        }
        Ok(())
    }

    fn encode(&self, journal: &Info, entries: &[ReplayedEntry]) -> std::io::Result<(SegmentManifest, bytes::Bytes)> {
        let (mut segment, mut newest_by_kind) = (Vec::new(), BTreeMap::new());
        for one in entries {
            segment::append_entry(&mut segment, one)?;
            newest_by_kind.insert(kind_of(&one.entry.subject).to_owned(), one.entry.sequence);
        }
        let sequence = |one: Option<&ReplayedEntry>| one.map_or(0, |one| one.entry.sequence);
        let body = segment::compress(&segment)?;
        let manifest = SegmentManifest {
            journal_created: timestamp_from_nanoseconds(journal.created.unix_timestamp_nanos()),
            first_sequence: sequence(entries.first()),
            last_sequence: sequence(entries.last()),
            entries: entries.len() as u64,
            entry_bytes: segment.len() as u64,
            sha256: ContentHash::of(&body).0.to_string(),
            newest_by_kind,
            archived_at: Timestamp::now(),
            actor: self.audit.actor.clone(),
            reason: self.audit.reason.clone(),
        };
        Ok((manifest, body))
    }

    /// Appends a message to the archive, after the one at `position`: another archiver that came first has a message
    /// there. Returns its sequence.
    async fn append(&self, position: u64, manifest: &str, body: bytes::Bytes) -> Result<u64, BusError> {
        let mut map = HeaderMap::new();
        headers::set(&mut map, headers::ARCHIVE_MANIFEST, manifest);
        headers::set(&mut map, headers::EXPECTED_LAST_SEQUENCE, &position.to_string());
        let jetstream = &self.bus.jetstream;
        let appended = async {
            let sent = jetstream.publish_with_headers(subjects::ARCHIVE_SEGMENTS, map, body);
            sent.await?.await
        };
        let acknowledged = with_timeout(self.bus.request_timeout(), "writing the journal's archive", appended);
        Ok(acknowledged.await?.sequence)
    }

    /// Lets the journal drop every entry up to a sequence.
    async fn purge_through(&self, sequence: u64) -> Result<(), BusError> {
        let purged = async {
            let journal = self.bus.jetstream.get_stream_no_info(subjects::STREAM_REPORTS).await;
            let journal = journal.map_err(|error| error.to_string())?;
            // The server keeps the entry at the sequence that it is sent.
            let purged = journal.purge().sequence(sequence + 1).await;
            purged.map_err(|error| error.to_string())
        };
        with_timeout(PURGE_TIMEOUT, "dropping archived entries", purged).await?;
        Ok(())
    }

    async fn journal_info(&self) -> Result<Info, ArchiveError> {
        self.stream_info(subjects::STREAM_REPORTS).await
    }

    async fn stream_info(&self, stream: &'static str) -> Result<Info, ArchiveError> {
        let info = read_stream_info(&self.bus, stream, OPERATION).await?;
        info.ok_or(ArchiveError::NoStream(stream))
    }
}
