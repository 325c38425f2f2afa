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
    /// Maximum number of keys in the database, 1 to 1000000000; beyond it new orders are refused. Default 20000000.
    pub max_keys: u64,
    /// Retention of ended orders, in hours, 1 to 8760: until then their ids are refused for other orders. Default 168 (7 days).
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
            max_keys: 20_000_000,
            retention_h: 168,
            batch_max: 256,
            queue_max: 8_192,
            lease_ms: 10_000,
        }
    }
}

impl RedisSettings {
    /// Returns for how long ended orders are remembered.
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_h.saturating_mul(60 * 60))
    }

    /// Adds a sentence for each setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        for (name, value, bounds) in [
            ("redis.connect_timeout_ms", self.connect_timeout_ms, 10..=60_000),
            ("redis.response_timeout_ms", self.response_timeout_ms, 10..=60_000),
            ("redis.max_keys", self.max_keys, 1..=1_000_000_000),
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
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}
