//! Repeated events in the log: the first is logged at once, the others are counted and logged at intervals.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two lines about the same kind of event.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts the events of one kind between two lines of the log.
#[derive(Debug, Default)]
pub struct IntervalLog(Mutex<Interval>);

#[derive(Debug, Default)]
struct Interval {
    last_line: Option<Instant>,
    count: u64,
}

impl IntervalLog {
    /// Returns a kind of event that has not occurred yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Interval {
            last_line: None,
            count: 0,
        }))
    }

    /// Counts an event. Returns how many have occurred since the last line if a line is due now.
    pub fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut interval = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        interval.count += 1;
        let is_due = interval
            .last_line
            .is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        is_due.then(|| {
            interval.last_line = Some(now);
            std::mem::take(&mut interval.count)
        })
    }
}

/// Logs at a level, with the fields and the message of `tracing`'s macros: the first line of this place at once, further
/// ones at intervals, each with the `count` of events since the last line.
#[macro_export]
#[doc(hidden)]
macro_rules! log_at_intervals {
    ($level:ident, $($fields:tt)+) => {{
        static PLACE: $crate::repeated_log::IntervalLog = $crate::repeated_log::IntervalLog::new();
        if let Some(count) = PLACE.count() {
            tracing::$level!(count, $($fields)+);
        }
    }};
}

pub use log_at_intervals;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_events_are_counted_between_two_lines() {
        let (log, start) = (IntervalLog::default(), Instant::now());
        assert_eq!([start; 3].map(|now| log.count_at(now)), [Some(1), None, None]);
        assert_eq!([start + LOG_INTERVAL; 2].map(|now| log.count_at(now)), [Some(3), None]);
    }
}
