//! Settings of the shared state (`[redis]`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How to reach Redis, and how much of it to use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// Where Redis listens: `redis://[user:password@]host:port[/database]`. Default `redis://127.0.0.1:6379`.
    pub url: String,
    /// How long one connection attempt may take, in milliseconds. Default 1000.
    pub connect_timeout_ms: u64,
    /// How long one answer may take, in milliseconds. Default 500.
    pub response_timeout_ms: u64,
    /// The most keys the database may hold before new orders are refused. Default 20 000 000.
    pub max_keys: u64,
    /// How long ended orders are remembered, in hours: until then their ids are refused. Default 168 (7 days).
    pub retention_h: u64,
    /// How many orders one script call carries at most. Default 256.
    pub batch_max: usize,
    /// How many calls may wait in one process before it answers that it is full. Default 8192.
    pub queue_max: usize,
    /// How long a claimed order belongs to its worker, in milliseconds. Default 10000.
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
    /// Adds a sentence for each setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        let mut range = |name: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                errors.push(format!("redis.{name} is {value}; it must lie between {low} and {high}"));
            }
        };
        range("connect_timeout_ms", self.connect_timeout_ms, 10, 60_000);
        range("response_timeout_ms", self.response_timeout_ms, 10, 60_000);
        range("max_keys", self.max_keys, 1, 1_000_000_000);
        range("retention_h", self.retention_h, 1, 24 * 365);
        range("batch_max", self.batch_max as u64, 1, 1_000);
        range("queue_max", self.queue_max as u64, 1, 1_000_000);
        range("lease_ms", self.lease_ms, 100, 600_000);
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
