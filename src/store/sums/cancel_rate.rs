//! Cancels per second (`lua/rate.lua`), counted over all workers.

use crate::domain::id::{AccountId, BrokerId};
use crate::risk::limits::RateLimits;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::script::COUNT_CANCEL;

/// A rate with no room left in this second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExceededRate {
    /// The account's limit, in cancels per second.
    Account(i64),
    /// The broker's limit, in cancels per second.
    Broker(i64),
}

impl Store {
    /// Counts a cancel of an account at a broker. Returns the rate that has no room for it, in which case it is not
    /// counted.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn count_cancel(
        &self,
        broker: &BrokerId,
        account_id: &AccountId,
        limits: RateLimits,
    ) -> Result<Option<ExceededRate>, StoreError> {
        let keys = [
            keys::meta(),
            keys::account_cancel_rate(account_id),
            keys::broker_cancel_rate(broker),
        ];
        let mut call = self.connection.script_call(&COUNT_CANCEL, None, &keys)?;
        call.arg(limits.per_account).arg(limits.per_broker);
        let mut reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "counted" => Ok(None),
            "over" => {
                let (which, limit): (usize, i64) = (reply.next_integer()?, reply.next_integer()?);
                Ok(Some(if which == 0 {
                    ExceededRate::Account(limit)
                } else {
                    ExceededRate::Broker(limit)
                }))
            }
            _ => Err(reply.unexpected_verdict()),
        }
    }
}
