//! Settings of the worker's port for metrics (`[metrics]`).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Where a worker tells what it measures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Where a worker serves `/metrics` and `/health` over HTTP, such as `127.0.0.1:9464`; port 0 takes a free one. It
    /// asks for no key and tells no secret: counts, durations, and the use of limits. Default none: it does not listen.
    pub addr: Option<SocketAddr>,
}
