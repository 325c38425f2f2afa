//! What snapshots are made with.

use std::time::Duration;

use crate::bus::journal::snapshots::JournalSnapshots;

/// What snapshots are made with.
#[derive(Debug, Clone)]
pub struct SnapshotTools {
    /// The stream of snapshots.
    pub stream: JournalSnapshots,
    /// After how many journal entries a snapshot is made; 0 for never.
    pub every_entries: u64,
    /// For how long ended orders are remembered.
    pub retention: Duration,
}
