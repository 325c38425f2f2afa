//! The sweep of remembered ids whose retention has ended (`lua/sweep_ids.lua`).

use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::SWEPT_BUCKETS;
use crate::store::script::SWEEP_IDS;

/// How many ids are remembered, and in how many buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedIds {
    /// The ids.
    pub count: u64,
    /// The buckets.
    pub buckets: u64,
    /// How many ids the sweep has dropped.
    pub dropped: u64,
}

impl Store {
    /// Returns how many ids may be remembered.
    pub fn max_remembered_ids(&self) -> u64 {
        self.connection.settings.max_remembered_ids()
    }

    /// Drops ids whose retention has ended, a bounded part of them, at a pace that all callers share.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn sweep_remembered_ids(&self) -> Result<RememberedIds, StoreError> {
        let mut call = self.connection.script_call(&SWEEP_IDS, None, &[keys::meta()])?;
        call.arg(SWEPT_BUCKETS);
        let mut reply = self.connection.run(call).await?;
        if reply.verdict != "swept" {
            return Err(reply.unexpected_verdict());
        }
        let dropped = reply.next_integer()?;
        Ok(RememberedIds {
            dropped,
            count: reply.next_integer()?,
            buckets: reply.next_integer()?,
        })
    }
}
