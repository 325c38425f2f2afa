//! The intent's age: after its deadline it is never executed. This is no denial: the id stays free for a retry.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// The furthest a deadline may lie ahead.
pub const MAX_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// What can be wrong with a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untimely {
    /// It has passed.
    Expired,
    /// It lies further ahead than [`MAX_AHEAD`].
    TooFarAhead,
}

/// How long an intent counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// After this moment it must not be sent.
    pub deadline: Timestamp,
    /// The furthest moment its caller named.
    furthest: Timestamp,
}

impl Lifetime {
    /// Returns the lifetime of an intent: to the earliest of the moments its caller named, else to `default` after it
    /// arrived.
    pub fn new(named: [Option<Timestamp>; 2], arrived_at: Timestamp, default: Duration) -> Self {
        let named = || named.into_iter().flatten();
        let deadline = named().min().unwrap_or_else(|| arrived_at.after(default));
        Self {
            deadline,
            furthest: named().max().unwrap_or(deadline),
        }
    }

    /// Checks it against the clock.
    ///
    /// # Errors
    /// When its deadline has passed, or a named moment lies too far ahead.
    pub fn check(&self, now: Timestamp) -> Result<(), Untimely> {
        if self.furthest > now && self.furthest.since(now) > MAX_AHEAD {
            Err(Untimely::TooFarAhead)
        } else if self.deadline <= now {
            Err(Untimely::Expired)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_named_deadline_counts() {
        let at = Timestamp::from_milliseconds;
        for (header, expires_at, deadline_ms) in [
            (None, None, 6_000),
            (Some(9_000), None, 9_000),
            (None, Some(2_000), 2_000),
            (Some(3_000), Some(4_000), 3_000),
        ] {
            let lifetime = Lifetime::new([header.map(at), expires_at.map(at)], at(1_000), Duration::from_secs(5));
            assert_eq!(lifetime.deadline, at(deadline_ms));
        }
    }

    #[test]
    fn a_deadline_is_over_at_its_moment_and_at_most_a_day_ahead() {
        let at = Timestamp::from_milliseconds;
        for (header_ms, expires_at_ms, verdict) in [
            (-1, None, Err(Untimely::Expired)),
            (0, None, Err(Untimely::Expired)),
            (1, None, Ok(())),
            (86_400_000, None, Ok(())),
            (86_400_001, None, Err(Untimely::TooFarAhead)),
            (1, Some(86_400_001), Err(Untimely::TooFarAhead)),
            (0, Some(86_400_000), Err(Untimely::Expired)),
        ] {
            let lifetime = Lifetime::new([Some(at(header_ms)), expires_at_ms.map(at)], at(0), Duration::ZERO);
            assert_eq!(lifetime.check(at(0)), verdict, "{header_ms} {expires_at_ms:?}");
        }
    }
}
