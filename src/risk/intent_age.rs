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

/// Returns the moment after which an intent must not be sent: the earliest of those its caller named, else `default`
/// after it arrived.
pub fn deadline(named: [Option<Timestamp>; 2], arrived_at: Timestamp, default: Duration) -> Timestamp {
    named
        .into_iter()
        .flatten()
        .min()
        .unwrap_or_else(|| arrived_at.after(default))
}

/// Checks a deadline against the clock.
///
/// # Errors
/// When it has passed, or lies too far ahead.
pub fn check(deadline: Timestamp, now: Timestamp) -> Result<(), Untimely> {
    if deadline <= now {
        Err(Untimely::Expired)
    } else if deadline.since(now) > MAX_AHEAD {
        Err(Untimely::TooFarAhead)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_named_deadline_counts() {
        let at = Timestamp::from_milliseconds;
        let default = Duration::from_secs(5);
        for (header, expires_at, deadline_ms) in [
            (None, None, 6_000),
            (Some(9_000), None, 9_000),
            (None, Some(2_000), 2_000),
            (Some(3_000), Some(4_000), 3_000),
        ] {
            let named = [header.map(at), expires_at.map(at)];
            assert_eq!(deadline(named, at(1_000), default), at(deadline_ms));
        }
    }

    #[test]
    fn a_deadline_is_over_at_its_moment_and_at_most_a_day_ahead() {
        let now = Timestamp::from_milliseconds(0);
        for (deadline_ms, verdict) in [
            (-1, Err(Untimely::Expired)),
            (0, Err(Untimely::Expired)),
            (1, Ok(())),
            (86_400_000, Ok(())),
            (86_400_001, Err(Untimely::TooFarAhead)),
        ] {
            assert_eq!(
                check(Timestamp::from_milliseconds(deadline_ms), now),
                verdict,
                "{deadline_ms}"
            );
        }
    }
}
