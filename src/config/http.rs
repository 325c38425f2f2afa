//! Settings of the sidecar (`[http]`).

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the sidecar listens, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where it listens. Default `127.0.0.1:8100`; port 0 takes a free one.
    pub addr: SocketAddr,
    /// How long a request may take in all, in milliseconds. Default 6000.
    pub request_timeout_ms: u64,
    /// How many requests may be under way at a time; more are answered 503. Default 1024.
    pub max_in_flight: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 8100)),
            request_timeout_ms: 6_000,
            max_in_flight: 1_024,
        }
    }
}

impl HttpSettings {
    /// Returns how long a request may take in all.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Adds a sentence for each setting that is out of its range.
    pub fn check(&self, errors: &mut Vec<String>) {
        if !(100..=60_000).contains(&self.request_timeout_ms) {
            errors.push("http.request_timeout_ms must lie between 100 and 60000".to_owned());
        }
        if !(1..=65_536).contains(&self.max_in_flight) {
            errors.push("http.max_in_flight must lie between 1 and 65536".to_owned());
        }
    }
}
