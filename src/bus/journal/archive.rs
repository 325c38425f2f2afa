//! The archive of the journal: a stream of segments, each of which holds consecutive entries that the journal may have
//! dropped. Every reader of the journal falls back to it, so that archive and journal read as one.
//!
//! A segment is one message: its body holds the entries ([`segment`]), a header holds the manifest ([`manifest`]). A
//! reader keeps the manifests in memory and loads a segment when it needs one of its entries. The archiver ([`archiver`])
//! writes segments, checks them against the journal and only then lets the journal drop their entries.

pub(super) mod archiver;
mod manifest;
mod segment;

use std::collections::VecDeque;
use std::sync::Arc;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{DirectGetErrorKind, Info};
use tokio::sync::{Mutex, MutexGuard};

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::journal::archive::manifest::SegmentManifest;
use crate::bus::journal::replay::{ReplayedEntry, StreamReplay};
use crate::bus::stream_entry::{StoredEntry, timestamp_from_nanoseconds};
use crate::bus::subjects;
use crate::domain::time::Timestamp;

/// The maximum number of segments of an archive: readers keep their manifests in memory.
const MAX_SEGMENTS: usize = 100_000;
/// The number of decoded segments that a reader keeps.
const MAX_LOADED_SEGMENTS: usize = 4;
const OPERATION: &str = "reading the journal's archive";

/// The entries of a segment that was loaded.
type LoadedSegment = Arc<Vec<ReplayedEntry>>;

/// A segment, and the sequence of its message in the archive.
#[derive(Debug, Clone)]
struct ArchivedSegment {
    position: u64,
    manifest: SegmentManifest,
}

/// What a reader knows of the archive.
#[derive(Debug, Default)]
struct ArchiveIndex {
    /// When the stream of the archive was created, and the journal that the segments belong to.
    created: Option<(Timestamp, Timestamp)>,
    /// The sequence of the newest message that was read.
    last_position: u64,
    /// The journal's segments in the order of their entries, which is the order in which they were written.
    segments: Vec<ArchivedSegment>,
    /// The segments that were loaded last, the newest first.
    loaded: VecDeque<(u64, LoadedSegment)>,
}

/// Reads the archive; clones share what was read.
#[derive(Debug, Clone)]
pub(super) struct JournalArchive {
    bus: Bus,
    index: Arc<Mutex<ArchiveIndex>>,
}

impl JournalArchive {
    /// Returns a reader on this connection.
    pub(super) fn new(bus: Bus) -> Self {
        Self {
            bus,
            index: Arc::default(),
        }
    }

    /// Returns the first entry from one sequence to another, both included; `None` if the archive has none.
    ///
    /// # Errors
    /// When the archive does not reply, or the segment is damaged.
    pub(super) async fn read_first(&self, from: u64, to: u64) -> Result<Option<StoredEntry>, BusError> {
        let mut index = self.index.lock().await;
        if index.find(from).is_none() {
            self.refresh(&mut index).await?;
        }
        let Some(segment) = index.first_from(from).filter(|one| one.manifest.first_sequence <= to) else {
            return Ok(None);
        };
        let segment = segment.clone();
        let entries = self.load(&mut index, &segment).await?;
        // A segment has no gap.
        let offset = usize::try_from(from.saturating_sub(segment.manifest.first_sequence)).unwrap_or(usize::MAX);
        Ok(entries.get(offset).map(|one| one.entry.clone()))
    }

    /// Returns the newest entry of a subject; `None` if the archive has none.
    ///
    /// # Errors
    /// As [`JournalArchive::read_first`].
    pub(super) async fn read_last_for_subject(&self, subject: &str) -> Result<Option<StoredEntry>, BusError> {
        let mut index = self.refreshed().await?;
        let candidates = index.segments.iter().rev();
        let candidates: Vec<_> = candidates
            .filter(|one| one.manifest.newest_match(subject).is_some())
            .cloned()
            .collect();
        for segment in candidates {
            let entries = self.load(&mut index, &segment).await?;
            if let Some(found) = entries.iter().rev().find(|one| one.entry.subject == subject) {
                return Ok(Some(found.entry.clone()));
            }
        }
        Ok(None)
    }

    /// Returns the first entry at or after a sequence whose subject matches a pattern; `None` if the archive has none.
    ///
    /// # Errors
    /// As [`JournalArchive::read_first`].
    pub(super) async fn read_next_for_subject(
        &self,
        pattern: &str,
        from: u64,
    ) -> Result<Option<StoredEntry>, BusError> {
        let mut index = self.refreshed().await?;
        let can_match =
            |one: &&ArchivedSegment| one.manifest.newest_match(pattern).is_some_and(|newest| newest >= from);
        let candidates: Vec<_> = index.segments.iter().filter(can_match).cloned().collect();
        for segment in candidates {
            let entries = self.load(&mut index, &segment).await?;
            let matches = |one: &&ReplayedEntry| {
                one.entry.sequence >= from && subjects::matches_pattern(pattern, &one.entry.subject)
            };
            if let Some(found) = entries.iter().find(matches) {
                return Ok(Some(found.entry.clone()));
            }
        }
        Ok(None)
    }

    /// Returns the first sequence from which on the archive has every entry before `first`; `first` if it does not have
    /// the entry before that.
    ///
    /// # Errors
    /// When the archive does not reply.
    pub(super) async fn first_covered_before(&self, first: u64) -> Result<u64, BusError> {
        let index = self.refreshed().await?;
        let mut covered = first;
        for segment in index.segments.iter().rev() {
            let manifest = &segment.manifest;
            // The archive may hold entries that the journal has, too.
            if manifest.first_sequence < covered && manifest.last_sequence + 1 >= covered {
                covered = manifest.first_sequence;
            }
        }
        Ok(covered)
    }

    async fn refreshed(&self) -> Result<MutexGuard<'_, ArchiveIndex>, BusError> {
        let mut index = self.index.lock().await;
        self.refresh(&mut index).await?;
        Ok(index)
    }

    /// Reads the manifests of the segments that were written since the last time.
    async fn refresh(&self, index: &mut ArchiveIndex) -> Result<(), BusError> {
        let archive = read_stream_info(&self.bus, subjects::STREAM_ARCHIVE, OPERATION).await?;
        let Some(archive) = archive.filter(|info| info.state.last_sequence > 0) else {
            *index = ArchiveIndex::default();
            return Ok(());
        };
        let Some(journal) = read_stream_info(&self.bus, subjects::STREAM_REPORTS, OPERATION).await? else {
            return Err(BusError::Refused(format!("{OPERATION}: there is no journal")));
        };
        let created = [&archive, &journal].map(|info| timestamp_from_nanoseconds(info.created.unix_timestamp_nanos()));
        let last = archive.state.last_sequence;
        if index.created != Some(created.into()) || index.last_position > last {
            *index = ArchiveIndex {
                created: Some(created.into()),
                ..ArchiveIndex::default()
            };
        }
        let next = index.last_position + 1;
        let mut messages = StreamReplay::new(self.bus.clone(), subjects::STREAM_ARCHIVE, next, last).headers_only();
        while let Some(message) = messages.next().await {
            match message {
                Ok(message) => index.add(message, created[1]),
                // A deleted segment is missing in the journal, and a replay reports that.
                Err(BusError::JournalGap { to, .. }) => index.last_position = to,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the entries of a segment.
    async fn load(&self, index: &mut ArchiveIndex, segment: &ArchivedSegment) -> Result<LoadedSegment, BusError> {
        let loaded = index
            .loaded
            .iter()
            .position(|(position, _)| *position == segment.position);
        if let Some(found) = loaded.and_then(|at| index.loaded.remove(at)) {
            let entries = Arc::clone(&found.1);
            index.loaded.push_front(found);
            return Ok(entries);
        }
        let entries = Arc::new(read_segment(&self.bus, segment).await?);
        index.loaded.truncate(MAX_LOADED_SEGMENTS - 1);
        index.loaded.push_front((segment.position, Arc::clone(&entries)));
        Ok(entries)
    }
}

impl ArchiveIndex {
    /// Adds the segment of a message, if it belongs to the journal.
    fn add(&mut self, message: ReplayedEntry, journal_created: Timestamp) {
        let position = message.entry.sequence;
        self.last_position = position;
        match SegmentManifest::decode(&message.headers) {
            Some(manifest) if manifest.journal_created == journal_created => {
                self.segments.push(ArchivedSegment { position, manifest });
            }
            Some(_) => {}
            None => tracing::error!(
                position,
                stream = subjects::STREAM_ARCHIVE,
                "a message of the journal's archive has no readable manifest: its entries are missing"
            ),
        }
    }

    /// Returns the segment with an entry.
    fn find(&self, sequence: u64) -> Option<&ArchivedSegment> {
        self.first_from(sequence)
            .filter(|one| one.manifest.first_sequence <= sequence)
    }

    /// Returns the first segment that ends at or after a sequence.
    fn first_from(&self, sequence: u64) -> Option<&ArchivedSegment> {
        let at = self
            .segments
            .partition_point(|one| one.manifest.last_sequence < sequence);
        self.segments.get(at)
    }
}

/// Reads a segment and checks it against its manifest.
async fn read_segment(bus: &Bus, segment: &ArchivedSegment) -> Result<Vec<ReplayedEntry>, BusError> {
    let damaged = |reason: String| BusError::ArchiveDamaged {
        segment: segment.manifest.name(),
        reason,
        stream: subjects::STREAM_ARCHIVE,
    };
    let opened = bus.jetstream.get_stream_no_info(subjects::STREAM_ARCHIVE);
    let archive = with_timeout(bus.request_timeout(), OPERATION, opened).await?;
    let found = async {
        match archive.direct_get(segment.position).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    let body = with_timeout(bus.request_timeout(), OPERATION, found).await?;
    let body = body.ok_or_else(|| damaged(format!("message {} is missing", segment.position)))?;
    segment::decode(&segment.manifest, &body).map_err(damaged)
}

/// Returns what the server knows of a stream; `None` if there is no such stream.
pub(super) async fn read_stream_info(
    bus: &Bus,
    stream: &str,
    operation: &'static str,
) -> Result<Option<Info>, BusError> {
    let read = async {
        match bus.jetstream.get_stream(stream).await {
            Ok(stream) => Ok(Some(stream.cached_info().clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                _ => Err(error),
            },
        }
    };
    with_timeout(bus.request_timeout(), operation, read).await
}
