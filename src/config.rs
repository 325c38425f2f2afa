//! Settings: one file per area, each with its defaults and ranges.
//!
//! They come from a TOML file, over it environment variables `ORDER_ROUTER_…` (the setting's path in capitals, dots as
//! underscores: `nats.url` is `ORDER_ROUTER_NATS_URL`), over them command-line flags. Money and quantities are quoted
//! strings. An unknown key is an error, and all errors are reported at once.

pub mod accounts;
pub mod api_keys;
pub mod binance_live;
pub mod brokers;
pub mod doors;
pub mod guards;
pub mod http;
pub mod https;
pub mod instruments;
pub mod journal;
pub mod limits;
pub mod listen_address;
pub mod load;
pub mod log;
pub mod metrics;
pub mod nats;
pub mod otlp;
pub mod private_files;
mod range;
pub mod redis;
pub mod risk;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::config::load::SettingsError;
pub use order_router_client::config::{retry, tls};

/// The shortest retention of ended orders, in hours, where live orders are allowed.
const SHORTEST_LIVE_RETENTION_H: u64 = 24;

/// Every setting of the router.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The directory of this process's own files, such as the sidecar's order log. Default `.data`.
    pub data_dir: DataDirSetting,
    /// NATS.
    pub nats: nats::NatsSettings,
    /// Redis.
    pub redis: redis::RedisSettings,
    /// The journal writer.
    pub journal: journal::JournalSettings,
    /// The request door and the durable door.
    pub doors: doors::DoorSettings,
    /// The brokers.
    pub brokers: brokers::BrokersSettings,
    /// The risk rules.
    pub risk: risk::RiskSettings,
    /// The tradable instruments.
    pub instruments: instruments::InstrumentList,
    /// Limits of individual accounts.
    pub accounts: accounts::AccountList,
    /// The sidecar.
    pub http: http::HttpSettings,
    /// The API keys of the sidecar.
    pub keys: api_keys::KeyList,
    /// The log.
    pub log: log::LogSettings,
    /// The worker's port for metrics.
    pub metrics: metrics::MetricsSettings,
    /// Traces.
    pub otlp: otlp::OtlpSettings,
}

/// The directory of a process's own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataDirSetting(pub PathBuf);

impl Default for DataDirSetting {
    fn default() -> Self {
        Self(PathBuf::from(".data"))
    }
}

impl Settings {
    /// Returns a sentence for each invalid setting.
    pub fn validation_errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.data_dir.0.as_os_str().is_empty() {
            errors.push("data_dir must name a directory".to_owned());
        }
        self.nats.validate(&mut errors);
        self.redis.validate(&mut errors);
        self.journal.validate(&mut errors);
        self.doors.validate(&mut errors);
        self.brokers.validate(&mut errors);
        self.risk.validate(&mut errors);
        if self.brokers.allow_live && self.risk.max_live_order_notional.is_empty() {
            errors.push(
                "risk.max_live_order_notional is empty; with brokers.allow_live it must say the most that one order may be worth"
                    .to_owned(),
            );
        }
        if self.brokers.allow_live && self.redis.retention_h < SHORTEST_LIVE_RETENTION_H {
            errors.push(format!(
                "redis.retention_h is {}; with brokers.allow_live it must be at least {SHORTEST_LIVE_RETENTION_H}: a venue's \
                 trades of the last day are compared with the ids that are remembered",
                self.redis.retention_h
            ));
        }
        self.http.validate(&mut errors);
        self.keys.validate(&mut errors);
        self.log.validate(&mut errors);
        self.otlp.validate(&mut errors);
        self.instruments.validate(&self.risk, &mut errors);
        self.accounts.validate(&self.instruments, &mut errors);
        errors
    }
}
