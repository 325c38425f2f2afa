//! What stands before every handler: admission, authentication, metrics.

pub(in crate::sidecar) mod admission;
pub(in crate::sidecar) mod auth;
pub(in crate::sidecar) mod http_metrics;
