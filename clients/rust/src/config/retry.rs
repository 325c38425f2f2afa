//! How a call is repeated.

use std::time::Duration;

/// The maximum number of times that a call is sent.
const MAX_ATTEMPTS: u32 = 20;

/// How often a call is sent again, and how long each reply is awaited.
///
/// ```
/// use std::time::Duration;
/// use order_router_client::RetrySchedule;
///
/// let schedule = RetrySchedule { attempts: 3, ..RetrySchedule::default() };
/// assert_eq!(schedule.delay_after(1), Duration::from_millis(100));
/// assert_eq!(schedule.delay_after(2), Duration::from_millis(200));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySchedule {
    /// The maximum number of times that a call is sent, 1 to 20; default 8. A number out of the range counts as the nearest
    /// within it.
    pub attempts: u32,
    /// How long one attempt waits for its reply; default 1.5 s. The last one waits until the deadline.
    pub reply_timeout: Duration,
    /// The delay before the second attempt; default 100 ms. It doubles for each further one.
    pub first_delay: Duration,
    /// The longest delay; default 1 s.
    pub max_delay: Duration,
    /// How long after its deadline a call may still ask for its outcome; default 1 s. A known id is answered at any time; one
    /// that is not known by then is refused with `intent_expired`, so that the outcome is certain either way.
    pub grace: Duration,
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self {
            attempts: 8,
            reply_timeout: Duration::from_millis(1_500),
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
            grace: Duration::from_secs(1),
        }
    }
}

impl RetrySchedule {
    /// Returns the schedule of a call that is sent once.
    pub fn once() -> Self {
        Self {
            attempts: 1,
            grace: Duration::from_millis(250),
            ..Self::default()
        }
    }

    /// Returns how often a call is sent at most.
    pub(crate) fn attempt_limit(&self) -> u32 {
        self.attempts.clamp(1, MAX_ATTEMPTS)
    }

    /// Returns the delay after an attempt, counted from 1.
    pub fn delay_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(MAX_ATTEMPTS);
        let delay = self.first_delay.saturating_mul(1 << doublings);
        delay.min(self.max_delay)
    }
}
