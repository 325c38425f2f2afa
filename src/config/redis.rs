//! Settings of Redis, the shared state (`[redis]`).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::range::check_range;

/// The connection to Redis, and the bounds of its use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// The URL of Redis: `redis://[user:password@]host:port[/database]`. Default `redis://127.0.0.1:6379`.
    pub url: String,
    /// Time limit of one connection attempt, in milliseconds, 10 to 60000. Default 1000.
    pub connect_timeout_ms: u64,
    /// Time limit of one reply, in milliseconds, 10 to 60000. Default 500.
    pub response_timeout_ms: u64,
    /// Maximum memory of Redis (`used_memory`), in MiB, 1 to 10000000; beyond it new orders are refused. Default 4096.
    pub max_memory_mb: u64,
    /// Memory for remembered ids, in MiB, 1 to 1000000; beyond it new orders are refused. Default 1024.
    pub remembered_ids_mb: u64,
    /// Retention of ended orders, in hours, 1 to 8760: until then their ids are refused for other orders. Default 24.
    pub retention_h: u64,
    /// Maximum number of orders in one script call, 1 to 1000. Default 256.
    pub batch_max: usize,
    /// Maximum number of calls that wait in one process, 1 to 1000000; beyond it intents get `queue_full`. Default 8192.
    pub queue_max: usize,
    /// The lease of a claim, in milliseconds by Redis' clock, 100 to 600000. Default 10000.
    pub lease_ms: u64,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            connect_timeout_ms: 1_000,
            response_timeout_ms: 500,
            max_memory_mb: 4_096,
            remembered_ids_mb: 1_024,
            retention_h: 24,
            batch_max: 256,
            queue_max: 8_192,
            lease_ms: 10_000,
        }
    }
}

/// The bytes of the unit that settings of memory count in.
const BYTES_PER_MEBIBYTE: u64 = 1 << 20;
/// What an order costs Redis while its id is remembered, in bytes, at the most: measured with Redis 7, with its share of a
/// bucket and the allocator's slack (docs/performance.md).
pub const BYTES_PER_REMEMBERED_ID: u64 = 80;

impl RedisSettings {
    /// Returns for how long ended orders are remembered.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_h.saturating_mul(60 * 60))
    }

    /// Returns how many ids may be remembered.
    pub fn max_remembered_ids(&self) -> u64 {
        self.remembered_ids_mb.saturating_mul(BYTES_PER_MEBIBYTE) / BYTES_PER_REMEMBERED_ID
    }

    /// Returns the most memory that Redis may use, in bytes.
    pub fn max_memory_bytes(&self) -> u64 {
        self.max_memory_mb.saturating_mul(BYTES_PER_MEBIBYTE)
    }

    /// Returns how many new orders a second can last: each one's id is remembered for the retention.
    pub fn lasting_orders_per_second(&self) -> u64 {
        self.max_remembered_ids() / self.retention_h.saturating_mul(60 * 60).max(1)
    }

    /// Adds a sentence for each setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        for (name, value, bounds) in [
            ("redis.connect_timeout_ms", self.connect_timeout_ms, 10..=60_000),
            ("redis.response_timeout_ms", self.response_timeout_ms, 10..=60_000),
            ("redis.max_memory_mb", self.max_memory_mb, 1..=10_000_000),
            ("redis.remembered_ids_mb", self.remembered_ids_mb, 1..=1_000_000),
            ("redis.retention_h", self.retention_h, 1..=24 * 365),
            ("redis.lease_ms", self.lease_ms, 100..=600_000),
        ] {
            check_range(errors, name, value, &bounds);
        }
        check_range(errors, "redis.batch_max", self.batch_max, &(1..=1_000));
        check_range(errors, "redis.queue_max", self.queue_max, &(1..=1_000_000));
        if !self.url.starts_with("redis://") && !self.url.starts_with("unix://") {
            errors.push("redis.url must start with redis:// or unix://".to_owned());
        }
    }
}

impl fmt::Debug for RedisSettings {
    /// Leaves the URL out: it may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisSettings")
            .field("max_memory_mb", &self.max_memory_mb)
            .finish_non_exhaustive()
    }
}
