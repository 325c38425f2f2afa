//! Log lines that repeat, such as the warning of a loop that retries: the first is logged at once, further ones are counted
//! and logged at intervals.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long after a logged line further ones of the same place are only counted.
pub const REPEAT_INTERVAL: Duration = Duration::from_secs(60);

/// The log lines of one place in the code.
#[derive(Debug)]
pub struct RepeatedLog(Mutex<RepeatState>);

#[derive(Debug)]
struct RepeatState {
    logged_at: Option<Instant>,
    suppressed: u64,
}

impl RepeatedLog {
    /// Returns a place that has not logged yet.
    pub const fn new() -> Self {
        Self(Mutex::new(RepeatState {
            logged_at: None,
            suppressed: 0,
        }))
    }

    /// Counts one line. Returns how many were suppressed since the last logged one if this one is to be logged; `None` if
    /// it is suppressed.
    pub fn admit(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.logged_at.is_some_and(|at| at.elapsed() < REPEAT_INTERVAL) {
            state.suppressed += 1;
            return None;
        }
        state.logged_at = Some(Instant::now());
        Some(std::mem::take(&mut state.suppressed))
    }
}

impl Default for RepeatedLog {
    fn default() -> Self {
        Self::new()
    }
}

/// Logs at a level, with the fields and the message of `tracing`'s macros: the first line of this place at once, further
/// ones once in [`REPEAT_INTERVAL`], with the number of those that were `suppressed` in between.
macro_rules! log_at_intervals {
    ($level:ident, $($fields:tt)+) => {{
        static PLACE: $crate::repeated_log::RepeatedLog = $crate::repeated_log::RepeatedLog::new();
        if let Some(suppressed) = PLACE.admit() {
            tracing::$level!(suppressed, $($fields)+);
        }
    }};
}

pub(crate) use log_at_intervals;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn first_is_admitted_and_the_next_one_counts_those_between() {
        let place = RepeatedLog::new();
        assert_eq!(place.admit(), Some(0));
        for _ in 0..280 {
            assert_eq!(place.admit(), None);
        }
        tokio::time::advance(REPEAT_INTERVAL).await;
        assert_eq!(place.admit(), Some(280));
        assert_eq!(place.admit(), None);
    }
}
