//! Whether the journal has space for new orders. The check of the store records it, once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bus::journal::JournalExtent;
use crate::fault::{Fault, FaultCode};

/// Whether the journal has space for new orders. Intake stops while there is still space for the reports of the open
/// ones. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct JournalCapacity(Arc<AtomicBool>);

impl JournalCapacity {
    /// The share of the stream's maximum size from which intake stops, in per cent.
    const FULL_AT_PERCENT: u64 = 90;

    fn is_nearly_full(extent: &JournalExtent) -> bool {
        let limit = u64::try_from(extent.max_bytes).ok().filter(|limit| *limit > 0);
        limit.is_some_and(|limit| extent.bytes >= limit / 100 * Self::FULL_AT_PERCENT)
    }

    /// Records the size of the journal.
    pub fn update(&self, extent: &JournalExtent) {
        let (limit, is_full) = (extent.max_bytes, Self::is_nearly_full(extent));
        if self.0.swap(is_full, Ordering::AcqRel) != is_full {
            if is_full {
                tracing::error!(
                    bytes = extent.bytes,
                    limit,
                    "the journal is nearly full: no new order is accepted. Raise nats.reports_max_bytes or free disk space"
                );
            } else {
                tracing::warn!(
                    bytes = extent.bytes,
                    limit,
                    "the journal has space again: new orders are accepted"
                );
            }
        }
    }

    /// Records that the journal did not reply: intake stops until the next [`JournalCapacity::update`].
    pub fn mark_unavailable(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Reports whether there is space for new orders.
    pub fn has_room(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }

    /// Checks that there is space for `what`, such as "new orders"; `unchanged` says what did not happen.
    ///
    /// # Errors
    /// `persistence_failed` if there is none.
    pub(in crate::worker) fn check(&self, what: &str, unchanged: &str) -> Result<(), Fault> {
        if self.has_room() {
            return Ok(());
        }
        let detail = format!("the journal is nearly full or unreachable and accepts no {what}; {unchanged}");
        Err(Fault::new(FaultCode::PersistenceFailed, detail))
    }
}
