//! Settings of Redis, the shared state (`[redis]`).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::range::check_range;
use crate::config::tls::TlsSettings;

/// The connection to Redis, and the bounds of its use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// The URL of Redis: `redis://[user:password@]host:port[/database]`, with TLS `rediss://…`. Default
    /// `redis://127.0.0.1:6379`. With `redis.sentinels`, its host and port are not used; all else is.
    pub url: String,
    /// The Sentinels that are asked for the primary: a list of `redis://[user:password@]host:port`, with TLS `rediss://…`.
    /// Default none: `url` leads to the primary.
    pub sentinels: Vec<String>,
    /// The name by which the Sentinels know the primary; default empty. Needs `redis.sentinels`.
    pub sentinel_service: String,
    /// Certificates for TLS.
    pub tls: TlsSettings,
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
    /// Maximum number of orders in one script call, 1 to 1000; a call holds fewer where it would take Redis more than 0.35
    /// milliseconds. Default 32.
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
            sentinels: Vec::new(),
            sentinel_service: String::new(),
            tls: TlsSettings::default(),
            connect_timeout_ms: 1_000,
            response_timeout_ms: 500,
            max_memory_mb: 4_096,
            remembered_ids_mb: 1_024,
            retention_h: 24,
            batch_max: 32,
            queue_max: 8_192,
            lease_ms: 10_000,
        }
    }
}

/// What a URL with TLS begins with.
const TLS_SCHEME: &str = "rediss://";
/// What the address of a Sentinel may begin with.
const SENTINEL_SCHEMES: [&str; 2] = ["redis://", TLS_SCHEME];
/// The most Sentinels: each process keeps a connection to every one of them.
const MAX_SENTINELS: usize = 16;
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

    /// Reports whether the URL uses TLS.
    pub fn uses_tls(&self) -> bool {
        self.url.starts_with(TLS_SCHEME)
    }

    /// Reports whether the Sentinels name the primary, and not the URL.
    pub fn uses_sentinels(&self) -> bool {
        !self.sentinels.is_empty()
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
        if !["redis://", TLS_SCHEME, "unix://"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme))
        {
            errors.push("redis.url must start with redis://, rediss:// (TLS) or unix://".to_owned());
        }
        // The client library would read "#insecure" as leave to trust any certificate.
        if self.uses_tls() && self.url.contains('#') {
            errors.push("redis.url must have no part after #: certificates are always checked".to_owned());
        }
        let is_tls = self.uses_tls() || self.sentinels.iter().any(|one| one.starts_with(TLS_SCHEME));
        self.tls.validate("redis", "rediss", is_tls, errors);
        self.validate_sentinels(errors);
    }

    /// Adds a sentence for each setting of the Sentinels that cannot be used. None shows an address: it may hold a password.
    fn validate_sentinels(&self, errors: &mut Vec<String>) {
        if self.sentinels.len() > MAX_SENTINELS {
            errors.push(format!("redis.sentinels has more than {MAX_SENTINELS} addresses"));
        }
        for (position, address) in self.sentinels.iter().enumerate() {
            let rest = SENTINEL_SCHEMES.iter().find_map(|scheme| address.strip_prefix(scheme));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['#', '/', '?'])) {
                let form = "redis://[user:password@]host:port, or rediss:// with TLS";
                errors.push(format!("redis.sentinels: address {} must be {form}", position + 1));
            }
        }
        if self.uses_sentinels() == self.sentinel_service.is_empty() {
            errors.push("redis.sentinels and redis.sentinel_service must be set together".to_owned());
        }
        if self.uses_sentinels() && self.url.starts_with("unix://") {
            errors.push("redis.url must not be unix:// where redis.sentinels is set".to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(settings: RedisSettings) -> Vec<String> {
        let mut errors = Vec::new();
        settings.validate(&mut errors);
        errors
    }

    #[test]
    fn sentinels_are_addresses_with_a_service() {
        let with = |sentinels: &[&str], service: &str| RedisSettings {
            sentinels: sentinels.iter().map(|&one| one.to_owned()).collect(),
            sentinel_service: service.to_owned(),
            ..RedisSettings::default()
        };
        let valid = with(&["redis://a:26379", "rediss://user:secret@b:26379"], "orders");
        assert_eq!(errors_of(valid), Vec::<String>::new());
        for (sentinels, service) in [
            (&["redis://a:26379"][..], ""),
            (&[], "orders"),
            (&["a:26379"], "orders"),
            (&["redis://"], "orders"),
            (&["redis://secret@a:26379/1"], "orders"),
            (&["rediss://a:26379#insecure"], "orders"),
            (&["redis://a:1"; MAX_SENTINELS + 1], "orders"),
        ] {
            let errors = errors_of(with(sentinels, service));
            assert_eq!(errors.len(), 1, "{sentinels:?}: {errors:?}");
            assert!(
                errors[0].contains("redis.sentinel") && !errors[0].contains("secret"),
                "{errors:?}"
            );
        }
        let unix = RedisSettings {
            url: "unix:///run/redis.sock".to_owned(),
            ..with(&["redis://a:26379"], "orders")
        };
        assert_eq!(errors_of(unix).len(), 1);
    }
}
