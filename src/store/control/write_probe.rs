//! The write probe: whether Redis would take what a new order writes.

use redis::Value;

use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;

/// How long the probe's key is kept, in milliseconds.
const PROBE_TTL_MS: u64 = 60_000;
/// The field of Redis' `INFO memory` that holds the bytes in use.
const USED_MEMORY: &str = "used_memory:";

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
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let used = read_used_memory(&self.connection.query(info).await?)
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

fn read_used_memory(reply: &Value) -> Option<u64> {
    let text = match reply {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    text.lines()
        .find_map(|line| line.strip_prefix(USED_MEMORY))?
        .trim()
        .parse()
        .ok()
}
