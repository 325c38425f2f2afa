//! Why the next event of a stream was not returned.

use crate::bus::connection::BusError;

/// Why the next entry of a stream was not returned. The next call continues.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Entries behind the position are archived or lost, or the stream is another one. Read state and orders again; the next
    /// call continues with the first entry that is left. Of a stream with filters, entries of others may be all that is gone.
    #[error("the stream continues at sequence {next_sequence}: the entries before it are archived or lost")]
    Gap {
        /// The sequence of the first entry that the stream still has, or will have.
        next_sequence: u64,
    },
    /// The stream has been out of reach for too long, or the NATS user may not read it.
    #[error("the stream cannot be read: {0}")]
    Unavailable(BusError),
    /// The entry is not what the contract says. The next call continues behind it.
    #[error("this version cannot decode entry {sequence}: {reason}")]
    Undecodable {
        /// The sequence of the entry.
        sequence: u64,
        /// What is wrong.
        reason: String,
    },
}
