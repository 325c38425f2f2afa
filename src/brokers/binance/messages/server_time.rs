//! The reply to `GET /api/v3/time` (`rest-api.md`, "Check server time").

use serde::Deserialize;

/// The venue's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerTime {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub server_time: i64,
}
