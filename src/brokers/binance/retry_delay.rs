//! Delays between attempts: doubling, bounded, and different for each process.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// The delays between attempts.
#[derive(Debug, Clone)]
pub struct RetryDelay {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl RetryDelay {
    /// Returns delays from `first` on, each twice the one before, at most `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Returns the next delay: between a half of it and all of it, so that processes that failed together do not come back
    /// together.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        let mut random = [0_u8; 1];
        // Without random numbers every process waits for the full delay.
        let share = SystemRandom::new().fill(&mut random).map_or(u8::MAX, |()| random[0]);
        delay / 2 + delay / 2 * u32::from(share) / u32::from(u8::MAX)
    }

    /// Begins with the first delay again, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_again() {
        let mut delay = RetryDelay::new(Duration::from_millis(100), Duration::from_millis(300));
        for full in [100, 200, 300, 300] {
            let next = delay.next_delay().as_millis();
            assert!((full / 2..=full).contains(&next), "{next} of {full}");
        }
        delay.reset();
        assert!(delay.next_delay() <= Duration::from_millis(100));
    }
}
