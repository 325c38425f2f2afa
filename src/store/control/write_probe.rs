//! The write probe: whether Redis would take what a new order writes.

use redis::Value;

use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;

/// How long the probe's key is kept, in milliseconds.
const PROBE_TTL_MS: u64 = 60_000;

impl Store {
    /// Writes a key that expires by itself. Redis refuses this write whenever it refuses a new order's: its disk is full
    /// (`MISCONF`), its memory limit is reached (`OOM`), or it is a replica (`READONLY`).
    ///
    /// # Errors
    /// Any [`StoreError`]; also when Redis holds more than `redis.max_keys` keys.
    pub async fn probe_write(&self) -> Result<(), StoreError> {
        let mut write = redis::cmd("SET");
        write.arg(keys::write_probe()).arg(1).arg("PX").arg(PROBE_TTL_MS);
        self.connection.query(write).await?;
        let max_keys = self.connection.settings.max_keys;
        match self.connection.query(redis::cmd("DBSIZE")).await? {
            Value::Int(count) if u64::try_from(count).is_ok_and(|count| count <= max_keys) => Ok(()),
            Value::Int(count) => Err(StoreError::NotExecuted(format!(
                "Redis holds {count} keys, more than redis.max_keys ({max_keys})"
            ))),
            _ => Err(StoreError::corrupt("the reply to DBSIZE is not a number")),
        }
    }
}
