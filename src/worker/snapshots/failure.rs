//! Why a snapshot is not made, or not usable.

use crate::bus::journal::snapshots::SnapshotError;
use crate::store::rebuild::fold::encoding::SnapshotItemError;
use crate::worker::rebuild::error::StoreRebuildError;

/// Why a snapshot is not made, or not usable.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFailure {
    /// The stream of snapshots does not reply, or holds a damaged one.
    #[error(transparent)]
    Stream(#[from] SnapshotError),
    /// An item cannot be read or written.
    #[error(transparent)]
    Item(#[from] SnapshotItemError),
    /// The journal cannot be folded.
    #[error(transparent)]
    Fold(#[from] StoreRebuildError),
    /// The snapshot does not belong to the journal.
    #[error("the snapshot up to sequence {sequence} {reason}")]
    OtherJournal {
        /// The sequence of the last entry that it folds.
        sequence: u64,
        /// What differs.
        reason: &'static str,
    },
}
