//! The write probe: whether Redis would take what a new order writes.

use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;

/// How long the probe's key is kept, in milliseconds.
const PROBE_TTL_MS: u64 = 60_000;

impl Store {
    /// Writes a key that expires by itself, and measures the memory that Redis uses. Redis refuses this write
    /// whenever it refuses a new order's: its disk is full (`MISCONF`), its memory limit is reached (`OOM`), or it is a
    /// replica (`READONLY`). Until the next probe, new orders are refused where it uses more than `redis.max_memory_mb`.
    ///
    /// # Errors
    /// Any [`StoreError`]; also when Redis uses more than `redis.max_memory_mb`.
    pub async fn probe_write(&self) -> Result<(), StoreError> {
        let mut write = redis::cmd("SET");
        write.arg(keys::write_probe()).arg(1).arg("PX").arg(PROBE_TTL_MS);
        self.connection.query(write).await?;
        let info = self.connection.read_info("memory").await?;
        let used = (info.field("used_memory").and_then(|bytes| bytes.parse().ok()))
            .ok_or_else(|| StoreError::corrupt("the reply to INFO memory has no used_memory"))?;
        self.connection.set_used_memory(used);
        if self.connection.is_full() {
            let most = self.connection.settings.max_memory_mb;
            return Err(StoreError::NotExecuted(format!(
                "Redis uses {used} bytes, more than redis.max_memory_mb ({most} MiB)"
            )));
        }
        Ok(())
    }

    /// Returns the memory that Redis used at the last probe, and `redis.max_memory_mb`, in bytes.
    pub fn memory_use(&self) -> (u64, u64) {
        self.connection.memory_use()
    }
}
