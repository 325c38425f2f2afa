//! How many calls of a kind come in a second (`lua/rate.lua`), counted by all workers together.

use super::connection::Store;
use super::error::StoreError;
use super::keys;
use super::script::{RATE, Reply};
use crate::domain::id::{AccountId, BrokerId};
use crate::risk::limits::RateLimits;

/// A rate that has no room in this second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
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
    ) -> Result<Option<Exceeded>, StoreError> {
        let epoch = self.core.epoch()?;
        let keys = [
            keys::meta(),
            keys::account_cancels(account_id),
            keys::broker_cancels(broker),
        ];
        let mut command = RATE.call(epoch, &keys);
        command.arg(limits.account).arg(limits.broker);
        let reply = self.core.query(command).await.and_then(Reply::of);
        let mut reply = self.core.noting(epoch, reply)?;
        if reply.verdict == "counted" {
            return Ok(None);
        }
        let which = reply.integer::<usize>()?;
        let limit = reply.integer()?;
        Ok(Some(if which == 0 {
            Exceeded::Account(limit)
        } else {
            Exceeded::Broker(limit)
        }))
    }
}
