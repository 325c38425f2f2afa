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
