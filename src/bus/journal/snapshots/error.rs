//! Why a snapshot cannot be used or written.

use crate::bus::connection::BusError;
use crate::bus::subjects;

/// Why a snapshot is not usable, or not written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The server does not reply, or refuses.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The stream is missing.
    #[error(
        "the stream {} does not exist: run `order-router topology`",
        subjects::STREAM_SNAPSHOTS
    )]
    NoStream,
    /// A message is missing, or is not what its checksum says.
    #[error("message {position} of the stream {} {reason}", subjects::STREAM_SNAPSHOTS)]
    Damaged {
        /// The sequence of the message.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// What is to be written does not fit.
    #[error("{0}")]
    Unwritable(String),
}
