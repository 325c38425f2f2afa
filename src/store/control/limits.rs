//! The limits in force (`lua/limits.lua`): the newest event of the journal, the same for all workers from the next order on.

use crate::store::client::Store;
use crate::store::connection::ScriptCall;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::script::LIMITS;

/// Which limits are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLimits {
    /// The journal sequence of their event; 0 while there are none.
    pub sequence: u64,
    /// Their hash; empty while there are none.
    pub hash: String,
}

/// The limits of a journal event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsToEnforce<'a> {
    /// The journal sequence of the event.
    pub sequence: u64,
    /// The hash of the limits.
    pub hash: &'a str,
    /// The event's JSON.
    pub document: &'a [u8],
}

impl Store {
    /// Returns which limits are in force.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_limits(&self) -> Result<StoredLimits, StoreError> {
        self.call_limits_script(None, |call| {
            call.arg("read");
        })
        .await
    }

    /// Puts the limits of a journal event in force unless those of a later event are; `rebuild` is that of a store that is
    /// being rebuilt. Returns which are in force then.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn enforce_limits(
        &self,
        rebuild: Option<&StoreRebuild>,
        limits: LimitsToEnforce<'_>,
    ) -> Result<StoredLimits, StoreError> {
        self.call_limits_script(rebuild, |call| {
            call.arg("set")
                .arg(limits.sequence)
                .arg(limits.hash)
                .arg(limits.document);
        })
        .await
    }

    async fn call_limits_script(
        &self,
        rebuild: Option<&StoreRebuild>,
        add_arguments: impl FnOnce(&mut ScriptCall),
    ) -> Result<StoredLimits, StoreError> {
        let keys = [keys::meta(), keys::operator_state(), keys::limits()];
        let mut call = self.connection.script_call(&LIMITS, rebuild, &keys)?;
        add_arguments(&mut call);
        let mut reply = self.connection.run(call).await?;
        Ok(StoredLimits {
            sequence: reply.next_integer()?,
            hash: reply.next_text()?,
        })
    }
}
