//! Up to when the trades at a venue are settled, shared by all workers: one that starts reads only what came later.

use redis::Value;

use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::raised_numbers::RaiseFrom;
use crate::store::{Store, keys};

/// How long a moment is kept: a reading never begins more than a day back.
const TTL_MS: u64 = 25 * 3_600_000;

/// Whose trades are settled, and on which journal they are.
#[derive(Debug, Clone, Copy)]
pub struct SettledTradesOf<'a> {
    /// The hash of the environment and the API key.
    pub key: &'a str,
    /// The symbol.
    pub symbol: &'a Symbol,
    /// The journal: another one, or one that has lost entries, does not have them.
    pub journal: &'a str,
}

impl SettledTradesOf<'_> {
    fn redis_key(&self) -> String {
        keys::settled_trades(self.key, self.symbol, self.journal)
    }
}

impl Store {
    /// Returns up to which moment, by the venue's clock, the trades are settled; `None` where Redis does not know.
    ///
    /// # Errors
    /// Any [`StoreError`] but [`StoreError::Stale`].
    pub async fn read_settled_trades(&self, of: &SettledTradesOf<'_>) -> Result<Option<Timestamp>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(of.redis_key());
        match self.connection.query(command).await? {
            Value::Nil => Ok(None),
            value => {
                let microseconds = redis::from_redis_value(value);
                let microseconds = microseconds.map_err(|error| StoreError::corrupt(error.to_string()))?;
                Ok(Some(Timestamp::from_microseconds(microseconds)))
            }
        }
    }

    /// Records that every trade before a moment is settled. An earlier moment than the one that is known changes nothing.
    /// [`RaiseFrom`] says whether one is recorded where none is known.
    ///
    /// # Errors
    /// Any [`StoreError`] but [`StoreError::Stale`]; after [`StoreError::OutcomeUnknown`] it may be recorded.
    pub async fn record_settled_trades(
        &self,
        of: &SettledTradesOf<'_>,
        until: Timestamp,
        from: RaiseFrom,
    ) -> Result<(), StoreError> {
        self.raise_number(&of.redis_key(), until.as_microseconds(), TTL_MS, from)
            .await
    }
}
