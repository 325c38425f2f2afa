//! How long ended orders, journaled adjustments and the counters of a day are kept.

use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::store::keys;

/// The shortest life of a remembered id that a replay writes, in milliseconds, also where its retention has ended: the journal
/// may hold an event twice, and the second must find that the first was applied.
pub(super) const MIN_RETENTION: Duration = Duration::from_secs(60 * 60);

/// Returns the retention in milliseconds.
pub(super) fn retention_ms(hours: u64) -> u64 {
    hours.saturating_mul(60 * 60 * 1_000)
}

/// Returns how long the counters of a day live, in milliseconds.
pub(super) fn day_ttl_ms() -> i64 {
    keys::DAY_MARKS_RETENTION_DAYS * 24 * 60 * 60 * 1_000
}

/// Returns how long an order that has ended, or an adjustment, is still remembered, in milliseconds; `since` is when it ended.
pub(super) fn remaining_retention_ms(since: Timestamp, retention_ms: u64) -> u64 {
    let age_ms = saturating_ms(Timestamp::now().saturating_duration_since(since));
    retention_ms.saturating_sub(age_ms).max(saturating_ms(MIN_RETENTION))
}

/// Returns a duration in whole milliseconds, clipped to the range of `u64`.
pub(super) fn saturating_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
