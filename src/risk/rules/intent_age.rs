//! `intent_age`: after its deadline an intent is never executed. This uses up no id: a retry is judged anew.

use std::time::Duration;

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::time::Timestamp;
use crate::risk::{Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "intent_age";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let deadline = input.deadline;
    if deadline > input.now {
        return;
    }
    assessment.add_lock(RuleSignal {
        rule_id: ID,
        level: SignalLevel::Lock,
        code: ReasonCode::IntentExpired,
        message: format!("the intent's deadline was {deadline}; it was not sent. Send it again with a later one"),
        metadata: Metadata::new().with("deadline", deadline.to_string()),
    });
}

/// The furthest a deadline may lie ahead.
pub const MAX_DEADLINE_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// A deadline that lies further ahead than [`MAX_AHEAD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineTooFarAhead;

/// How long an intent counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntentLifetime {
    /// After this moment it must not be sent.
    pub deadline: Timestamp,
    /// The furthest moment its caller named.
    latest_requested: Timestamp,
}

impl IntentLifetime {
    /// Returns the lifetime of an intent: to the earliest of the moments its caller named, else to `default` after it
    /// arrived.
    pub fn new(requested: [Option<Timestamp>; 2], arrived_at: Timestamp, default: Duration) -> Self {
        let named = || requested.into_iter().flatten();
        let deadline = named().min().unwrap_or_else(|| arrived_at.saturating_add(default));
        Self {
            deadline,
            latest_requested: named().max().unwrap_or(deadline),
        }
    }

    /// Checks what its caller has named against the clock.
    ///
    /// # Errors
    /// When a named moment lies too far ahead.
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
    fn the_earliest_named_deadline_counts() {
        let at = Timestamp::from_milliseconds;
        for (header, expires_at, deadline_ms) in [
            (None, None, 6_000),
            (Some(9_000), None, 9_000),
            (None, Some(2_000), 2_000),
            (Some(3_000), Some(4_000), 3_000),
        ] {
            let lifetime = IntentLifetime::new([header.map(at), expires_at.map(at)], at(1_000), Duration::from_secs(5));
            assert_eq!(lifetime.deadline, at(deadline_ms));
        }
    }

    #[test]
    fn no_moment_lies_more_than_a_day_ahead() {
        let at = Timestamp::from_milliseconds;
        for (header_ms, expires_at_ms, verdict) in [
            (-1, None, Ok(())),
            (86_400_000, None, Ok(())),
            (86_400_001, None, Err(DeadlineTooFarAhead)),
            (1, Some(86_400_001), Err(DeadlineTooFarAhead)),
            (0, Some(86_400_000), Ok(())),
        ] {
            let lifetime = IntentLifetime::new([Some(at(header_ms)), expires_at_ms.map(at)], at(0), Duration::ZERO);
            assert_eq!(lifetime.validate(at(0)), verdict, "{header_ms} {expires_at_ms:?}");
        }
    }
}
