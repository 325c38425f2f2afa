//! The paths that both the router and the middleware name.

/// The path of the liveness check. It needs no request permit.
pub(in crate::sidecar) const LIVENESS_PATH: &str = "/health/live";
/// The path of the OpenAPI document. Its numbers are always JSON numbers.
pub(in crate::sidecar) const OPENAPI_PATH: &str = "/openapi.json";
/// The path of the metrics. It needs no request permit.
pub(in crate::sidecar) const METRICS_PATH: &str = "/metrics";
