//! Why an audit could not be made.

use crate::audit::history::MAX_AUDITED_ORDERS;
use crate::bus::BusError;
use crate::order_log::inspection::InspectionError;
use crate::store::StoreError;
use crate::worker::rebuild::error::StoreRebuildError;

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// NATS did not reply.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Redis did not reply, or holds values of another type.
    #[error("Redis: {0}")]
    Store(#[from] StoreError),
    /// The journal is behind what Redis has seen, has lost entries, or cannot be read on.
    #[error("{0}")]
    Journal(#[from] StoreRebuildError),
    /// The order log cannot be read.
    #[error(transparent)]
    OrderLog(#[from] InspectionError),
    /// The order log has seen entries that the journal does not have.
    #[error(
        "the order log has applied the journal up to sequence {seen} (created {seen_created}), but the journal ends at \
         {last_sequence} (created {created}): it was restored, cut or replaced. Restore the stream"
    )]
    JournalBehindOrderLog {
        /// The highest sequence that the order log has seen.
        seen: u64,
        /// When the journal was created that it has followed.
        seen_created: String,
        /// The journal's last sequence.
        last_sequence: u64,
        /// When the journal was created.
        created: String,
    },
    /// The journal has more orders than one audit remembers.
    #[error("the journal has more than {MAX_AUDITED_ORDERS} orders, the most that one audit remembers")]
    TooManyOrders,
    /// A task of this process failed.
    #[error("a task of the audit failed: {0}")]
    Task(String),
}
