//! The venue's clock: this machine's clock and a measured offset.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::time::Timestamp;

/// The longest round trip of a measurement that counts: the offset is uncertain by half of it, and the venue refuses
/// timestamps more than a second ahead of its own clock.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(1_000);

/// The offset of the venue's clock from this machine's.
#[derive(Debug, Default)]
pub struct VenueClock {
    /// In microseconds; none until it is measured, or after the venue refused a timestamp.
    offset: Mutex<Option<i64>>,
    refused: Notify,
}

/// One question for the venue's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSample {
    /// When it was sent, by this machine's clock.
    pub sent_at: Timestamp,
    /// When the reply was here.
    pub received_at: Timestamp,
    /// The venue's time in the reply.
    pub venue_time: Timestamp,
}

impl ClockSample {
    /// Returns the time between question and reply.
    pub fn round_trip(&self) -> Duration {
        self.received_at.saturating_duration_since(self.sent_at)
    }

    fn offset(&self) -> i64 {
        let midpoint = self.sent_at.as_microseconds() / 2 + self.received_at.as_microseconds() / 2;
        self.venue_time.as_microseconds().saturating_sub(midpoint)
    }
}

impl VenueClock {
    /// Returns the venue's time, or `None` while the offset is not known.
    pub fn now(&self) -> Option<Timestamp> {
        let offset = *self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        offset.map(|offset| shift(Timestamp::now(), offset))
    }

    /// Returns the venue's time, by this machine's clock while the offset is not known.
    pub fn now_or_local(&self) -> Timestamp {
        self.now().unwrap_or_else(Timestamp::now)
    }

    /// Returns the offset in microseconds, above zero where the venue is ahead.
    pub fn offset_micros(&self) -> Option<i64> {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the offset of the sample with the shortest round trip. Reports whether one was short enough.
    pub fn synchronize(&self, samples: &[ClockSample]) -> bool {
        let best = samples.iter().min_by_key(|sample| sample.round_trip());
        let Some(best) = best.filter(|best| best.round_trip() <= MAX_ROUND_TRIP) else {
            return false;
        };
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner) = Some(best.offset());
        true
    }

    /// Drops the offset, since the venue refused a timestamp, and asks for a new measurement.
    pub fn reject_offset(&self) {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.refused.notify_one();
    }

    /// Waits until a measurement is asked for.
    pub async fn wait_for_rejection(&self) {
        self.refused.notified().await;
    }
}

fn shift(at: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_microseconds(at.as_microseconds().saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sent: i64, received: i64, venue: i64) -> ClockSample {
        ClockSample {
            sent_at: Timestamp::from_milliseconds(sent),
            received_at: Timestamp::from_milliseconds(received),
            venue_time: Timestamp::from_milliseconds(venue),
        }
    }

    #[test]
    fn the_offset_is_that_of_the_shortest_round_trip() {
        let clock = VenueClock::default();
        assert_eq!(clock.now(), None);
        assert!(!clock.synchronize(&[]));
        assert!(!clock.synchronize(&[sample(0, 1_001, 0)]));
        assert!(clock.synchronize(&[
            sample(0, 900, 9_000),
            sample(1_000, 1_100, 4_050),
            sample(2_000, 2_400, 0)
        ]));
        assert_eq!(clock.offset_micros(), Some(3_000_000));
        let ahead = clock.now().unwrap().saturating_duration_since(Timestamp::now());
        assert!(
            ahead > Duration::from_millis(2_900) && ahead <= Duration::from_secs(3),
            "{ahead:?}"
        );
    }

    #[tokio::test]
    async fn a_refused_timestamp_asks_for_a_new_measurement() {
        let clock = VenueClock::default();
        clock.synchronize(&[sample(0, 2, -5_000)]);
        assert_eq!(clock.offset_micros(), Some(-5_001_000));
        clock.reject_offset();
        assert_eq!(clock.now(), None);
        clock.wait_for_rejection().await;
    }
}
