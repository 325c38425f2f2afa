//! Why a store could not be rebuilt or checked.

use crate::bus::BusError;
use crate::bus::journal::JournalLoss;
use crate::fault::{Fault, FaultCode};
use crate::store::StoreError;
use crate::store::rebuild::epoch::STORE_SCHEMA;
use crate::wire::adjustment::AdjustmentEventError;

/// Why a store could not be rebuilt or checked.
#[derive(Debug, thiserror::Error)]
pub enum StoreRebuildError {
    /// Redis did not reply, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The same, as the fault of a step that orders take, too.
    #[error("{0}")]
    StoreFault(String),
    /// The journal did not reply.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The journal holds something that cannot be replayed.
    #[error("{0}")]
    Journal(String),
    /// The journal has lost entries that the store has seen.
    #[error(
        "the journal ends at sequence {last_sequence} (created {created}), but the shared state has seen sequence {seen} of \
         the one created {seen_created}: the stream has been restored, cut or replaced. No order is accepted. Restore the \
         stream or, if the loss is accepted, empty Redis so that it is rebuilt from the journal as it is"
    )]
    JournalBehind {
        /// The journal's last sequence.
        last_sequence: u64,
        /// When the journal was created.
        created: String,
        /// The highest sequence that the store has seen.
        seen: u64,
        /// When the journal that the store has seen was created.
        seen_created: String,
    },
    /// The journal has lost entries that it had acknowledged to this worker.
    #[error(
        "the journal ends at sequence {last_sequence}, but it has acknowledged sequence {seen} to this worker, or has \
         given a new entry the sequence of an older one: the stream has been restored or cut. No order is accepted. \
         Restore the stream or, if the loss is accepted, empty Redis so that it is rebuilt from the journal as it is; \
         then restart the workers"
    )]
    JournalCut {
        /// The journal's last sequence.
        last_sequence: u64,
        /// The highest sequence that this worker has seen.
        seen: u64,
    },
    /// The journal does not exist any more.
    #[error(
        "the journal (stream ORDER_REPORTS) does not exist, and it had entries: it was deleted. No order is accepted. \
         Restore the stream (`nats stream restore`), and the workers continue by themselves. If the loss is accepted, \
         stop the workers, create an empty stream with `order-router topology`, empty Redis (`FLUSHDB`) and start them"
    )]
    JournalMissing,
    /// The store cannot be rebuilt: the journal has lost entries that a rebuild needs.
    #[error(
        "{0}. The shared state cannot be rebuilt without them, and no order is accepted. Restore the stream or, if the \
         loss is accepted, run `order-router journal accept-loss --actor NAME --reason TEXT`"
    )]
    JournalIncomplete(JournalLoss),
    /// The store was built by a release that gives keys, values or scripts another meaning.
    #[error(
        "the shared state follows schema {found}, and this release follows schema {own}: another release has built it and may \
         be using it. No order is accepted. Run one release at a time: stop the workers of the other one, empty Redis \
         (`FLUSHDB`), and start this one, which rebuilds the shared state from the journal"
    )]
    ForeignSchema {
        /// The schema of the store.
        found: String,
        /// The schema of this release.
        own: u32,
    },
    /// Another worker is rebuilding the store.
    #[error("another worker is rebuilding the shared state")]
    Busy,
}

impl StoreRebuildError {
    /// Returns the error of a store that follows another schema: its number, or empty for a release before schemas had
    /// numbers.
    pub(super) fn foreign_schema(found: &str) -> Self {
        Self::ForeignSchema {
            found: if found.is_empty() { "0" } else { found }.to_owned(),
            own: STORE_SCHEMA,
        }
    }

    /// Reports whether it passes only when an operator acts.
    pub fn requires_operator(&self) -> bool {
        match self {
            Self::JournalBehind { .. }
            | Self::JournalCut { .. }
            | Self::JournalMissing
            | Self::JournalIncomplete(_)
            | Self::ForeignSchema { .. } => true,
            Self::Store(_) | Self::StoreFault(_) | Self::Bus(_) | Self::Journal(_) | Self::Busy => false,
        }
    }
}

impl From<AdjustmentEventError> for StoreRebuildError {
    fn from(error: AdjustmentEventError) -> Self {
        Self::Journal(error.to_string())
    }
}

impl From<Fault> for StoreRebuildError {
    fn from(fault: Fault) -> Self {
        match fault.code {
            FaultCode::StoreUnavailable | FaultCode::QueueFull => Self::StoreFault(fault.detail),
            _ => Self::Journal(fault.detail),
        }
    }
}
