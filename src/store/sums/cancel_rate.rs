//! How many calls of a kind come in a second (`lua/rate.lua`), counted by all workers together.

use crate::domain::id::{AccountId, BrokerId};
use crate::risk::limits::RateLimits;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::script::{COUNT_CANCEL, ScriptReply};

/// A rate that has no room in this second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExceededRate {
    /// The account's.
    Account(i64),
    /// The broker's.
    Broker(i64),
}

impl Store {
    /// Counts a cancel of an account at a broker; returns the rate that has no room for it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn count_cancel(
        &self,
        broker: &BrokerId,
        account_id: &AccountId,
        limits: RateLimits,
    ) -> Result<Option<ExceededRate>, StoreError> {
        let epoch = self.connection.epoch()?;
        let keys = [
            keys::meta(),
            keys::account_cancel_rate(account_id),
            keys::broker_cancel_rate(broker),
        ];
        let mut command = COUNT_CANCEL.evalsha_command(epoch, &keys);
        command.arg(limits.per_account).arg(limits.per_broker);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let mut reply = self.connection.clear_epoch_if_stale(epoch, reply)?;
        if reply.verdict == "counted" {
            return Ok(None);
        }
        let which = reply.next_integer::<usize>()?;
        let limit = reply.next_integer()?;
        Ok(Some(if which == 0 {
            ExceededRate::Account(limit)
        } else {
            ExceededRate::Broker(limit)
        }))
    }
}
