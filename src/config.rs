//! Settings: one file per area, each with its defaults and ranges.
//!
//! They come from a TOML file, over it environment variables `ORDER_ROUTER_…` (the setting's path in capitals, dots as
//! underscores: `nats.url` is `ORDER_ROUTER_NATS_URL`), over them command-line flags. Money and quantities are quoted
//! strings. An unknown key is an error, and all errors are told at once.

pub mod accounts;
pub mod api_keys;
pub mod brokers;
pub mod doors;
pub mod http;
pub mod instruments;
pub mod journal;
pub mod load;
pub mod log;
pub mod metrics;
pub mod nats;
pub mod redis;
pub mod risk;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::config::load::SettingsError;

/// Every setting of the router.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where this process keeps files of its own: the sidecar its order log. Default `.data`.
    pub data_dir: DataDirSetting,
    /// The bus.
    pub nats: nats::NatsSettings,
    /// The shared state.
    pub redis: redis::RedisSettings,
    /// The journal's writer.
    pub journal: journal::JournalSettings,
    /// The request door and the durable door.
    pub doors: doors::DoorSettings,
    /// The brokers.
    pub brokers: brokers::BrokersSettings,
    /// The risk rules.
    pub risk: risk::RiskSettings,
    /// What can be traded.
    pub instruments: instruments::InstrumentList,
    /// Limits of single accounts.
    pub accounts: accounts::AccountList,
    /// The sidecar.
    pub http: http::HttpSettings,
    /// Who may use it.
    pub keys: api_keys::KeyList,
    /// The log.
    pub log: log::LogSettings,
    /// The worker's port for metrics.
    pub metrics: metrics::MetricsSettings,
}

/// The directory that a process keeps files of its own in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataDirSetting(pub PathBuf);

impl Default for DataDirSetting {
    fn default() -> Self {
        Self(PathBuf::from(".data"))
    }
}

impl Settings {
    /// Returns a sentence for each setting that cannot hold.
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
        self.http.validate(&mut errors);
        self.keys.validate(&mut errors);
        self.log.validate(&mut errors);
        self.instruments.validate(&self.risk, &mut errors);
        self.accounts.validate(&self.instruments, &mut errors);
        errors
    }
}
