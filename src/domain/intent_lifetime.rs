//! The lifetime of an intent: the deadline after which it is never sent.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// How far a deadline may lie in the future.
pub const MAX_DEADLINE_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// The error of a deadline that lies further in the future than [`MAX_DEADLINE_AHEAD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineTooFarAhead;

/// How long an intent may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntentLifetime {
    /// The intent is never sent at or after this moment.
    pub deadline: Timestamp,
    /// Whether the caller named any moment.
    pub is_requested: bool,
    /// The latest moment that the caller named.
    latest_requested: Timestamp,
}

impl IntentLifetime {
    /// Returns the lifetime of an intent. It ends at the earliest moment that the caller requested, or `default` after the
    /// arrival when the caller requested none.
    pub fn new(requested: [Option<Timestamp>; 2], arrived_at: Timestamp, default: Duration) -> Self {
        let moments = || requested.into_iter().flatten();
        let deadline = moments().min().unwrap_or_else(|| arrived_at.saturating_add(default));
        Self {
            deadline,
            is_requested: moments().next().is_some(),
            latest_requested: moments().max().unwrap_or(deadline),
        }
    }

    /// Checks the requested moments against the clock.
    ///
    /// # Errors
    /// When a requested moment lies more than [`MAX_DEADLINE_AHEAD`] in the future.
    pub fn validate(&self, now: Timestamp) -> Result<(), DeadlineTooFarAhead> {
        if self.latest_requested > now && self.latest_requested.saturating_duration_since(now) > MAX_DEADLINE_AHEAD {
            Err(DeadlineTooFarAhead)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_requested_moment_is_the_deadline() {
        let at = Timestamp::from_milliseconds;
        for (header, expires_at, deadline_ms) in [
            (None, None, 6_000),
            (Some(9_000), None, 9_000),
            (None, Some(2_000), 2_000),
            (Some(3_000), Some(4_000), 3_000),
        ] {
            let lifetime = IntentLifetime::new([header.map(at), expires_at.map(at)], at(1_000), Duration::from_secs(5));
            assert_eq!(lifetime.deadline, at(deadline_ms));
            assert_eq!(lifetime.is_requested, header.is_some() || expires_at.is_some());
        }
    }

    #[test]
    fn moment_more_than_a_day_ahead_is_refused() {
        let at = Timestamp::from_milliseconds;
        for (header_ms, expires_at_ms, expected) in [
            (-1, None, Ok(())),
            (86_400_000, None, Ok(())),
            (86_400_001, None, Err(DeadlineTooFarAhead)),
            (1, Some(86_400_001), Err(DeadlineTooFarAhead)),
            (0, Some(86_400_000), Ok(())),
        ] {
            let lifetime = IntentLifetime::new([Some(at(header_ms)), expires_at_ms.map(at)], at(0), Duration::ZERO);
            assert_eq!(lifetime.validate(at(0)), expected, "{header_ms} {expires_at_ms:?}");
        }
    }
}
