//! Settings of the worker's port for metrics (`[metrics]`).

use serde::{Deserialize, Serialize};

use crate::config::listen_address::ListenAddress;

/// Where a worker serves its metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// The address at which a worker serves `/metrics` and `/health` over HTTP, such as `127.0.0.1:9464` or `localhost:9464`; port
    /// 0 takes a free port. It asks for no key and serves no secret: counts, durations, and the use of limits. Default none: the
    /// worker does not listen.
    pub addr: Option<ListenAddress>,
}
