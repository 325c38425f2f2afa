//! The store that a replay writes to, and what it holds.

use crate::domain::order::Order;
use crate::store::keys::OrderKey;
use crate::store::orders::read::StoredOrder;
use crate::store::rebuild::lease::StoreRebuild;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::router::Router;

/// The store that a replay writes to.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) enum ReplayTarget<'a> {
    /// A store that is being rebuilt.
    Rebuilding(&'a StoreRebuild),
    /// A store in use: late events of the previous epoch.
    InUse,
}

impl<'a> ReplayTarget<'a> {
    pub(super) fn rebuild(self) -> Option<&'a StoreRebuild> {
        match self {
            Self::Rebuilding(rebuild) => Some(rebuild),
            Self::InUse => None,
        }
    }

    /// Returns the record of an order.
    pub(super) async fn read_order(
        self,
        router: &Router,
        key: &OrderKey,
    ) -> Result<Option<StoredOrder>, StoreRebuildError> {
        Ok(match self {
            Self::Rebuilding(rebuild) => router.store.read_order_for_rebuild(rebuild, key).await?,
            Self::InUse => router.store.read_order(key).await?,
        })
    }
}

/// Returns the order of a record; from the journal if only the journal still has its document.
pub(super) async fn load_stored_order(router: &Router, record: &StoredOrder) -> Result<Order, StoreRebuildError> {
    if !record.document.is_empty() {
        return Ok(order_from_document(&record.document)?);
    }
    let sequence = record.known.journal_sequence;
    let stored = router.journal_reader.read_entry(sequence).await?;
    let stored = stored.ok_or_else(|| StoreRebuildError::Journal(format!("the journal has no entry {sequence}")))?;
    let order = order_from_document(&stored.body)?;
    if order.order_id == record.known.order_id && order.version == record.known.version {
        return Ok(order);
    }
    Err(StoreRebuildError::Journal(format!(
        "the journal's entry {sequence} belongs to another order"
    )))
}
