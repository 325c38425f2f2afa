//! The store that a replay writes to, and what it holds.

use crate::domain::order_key::OrderKey;
use crate::store::orders::read::StoredOrder;
use crate::store::rebuild::lease::StoreRebuild;
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
