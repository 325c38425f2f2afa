//! The machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a time that is shifted by a signed number of milliseconds.
pub fn shifted(time: u64, by_ms: i64) -> u64 {
    time.saturating_add_signed(by_ms)
}
