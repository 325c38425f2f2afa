//! The manifest of a snapshot: which journal it folds and how far, and the messages of its parts.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// The format of what parts hold. A snapshot of another format is not read.
pub const SNAPSHOT_FORMAT: u32 = 1;

/// A snapshot of the shared state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotManifest {
    /// The format of its parts.
    pub format: u32,
    /// When the journal was created that it folds.
    pub journal_created: Timestamp,
    /// The sequence of the last entry that it folds.
    pub journal_sequence: u64,
    /// The SHA-256 of that entry's body, in hex: a journal that was cut and continued has another entry there.
    pub journal_entry_sha256: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// The parts with everything but remembered ids.
    pub state: Vec<SnapshotPart>,
    /// The remembered ids, the oldest first: an id of a later segment replaces that of an earlier one.
    pub ids: Vec<IdSegment>,
}

/// Remembered ids that one snapshot added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdSegment {
    /// When none of its ids is remembered any more.
    pub remembered_until: Timestamp,
    /// Its parts.
    pub parts: Vec<SnapshotPart>,
}

/// One message of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// The number of its subject.
    pub slot: u32,
    /// The sequence of its message in the stream of snapshots.
    pub position: u64,
    /// The size of its items, in bytes.
    pub item_bytes: u64,
    /// The SHA-256 of its body, in hex.
    pub sha256: String,
}

impl SnapshotManifest {
    /// Returns every part.
    pub fn parts(&self) -> impl Iterator<Item = &SnapshotPart> {
        let ids = self.ids.iter().flat_map(|segment| &segment.parts);
        self.state.iter().chain(ids)
    }
}
