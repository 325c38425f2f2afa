//! What runs before every handler: admission, CORS, authentication, metrics; and how numbers are written after them.

pub(in crate::sidecar) mod admission;
pub(in crate::sidecar) mod auth;
pub(in crate::sidecar) mod cors;
pub(in crate::sidecar) mod http_metrics;
pub(in crate::sidecar) mod number_format;
