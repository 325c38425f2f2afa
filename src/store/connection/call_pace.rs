//! How many commands a script call may hold, so that Redis serves no one else for about [`CALL_TIME`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a call should keep Redis. Where caches are cold a call takes twice as long, and 999 of 1000 stay below a millisecond,
/// but for what Redis waits for a processor (docs/performance.md).
const CALL_TIME: Duration = Duration::from_micros(350);
/// The estimate of a command's cost follows a cheaper call by this part of the difference, and a dearer one by
/// [`DEARER_PART`]: what most calls take counts, and hardly that Redis sometimes waits for a processor. Otherwise a busy
/// machine would get ever smaller calls, which cost it more.
const CHEAPER_PART: u64 = 8;
const DEARER_PART: u64 = 32;
/// A call counts as this many times its expected time at the most.
const MOST_OF_A_SAMPLE: u64 = 2;
/// How many commands the first call may hold: what they cost here is not known yet.
const FIRST_BATCH: u64 = 8;

/// The measured cost of a script's commands.
#[derive(Debug)]
pub(super) struct CallPace {
    batch_max: usize,
    /// How long a command takes Redis, with its share of the call, in nanoseconds.
    command_ns: AtomicU64,
}

impl CallPace {
    /// Creates the pace of a script whose calls never hold more than `batch_max` commands.
    pub(super) fn new(batch_max: usize) -> Self {
        Self {
            batch_max,
            command_ns: AtomicU64::new(nanoseconds(CALL_TIME) / FIRST_BATCH),
        }
    }

    /// Returns how many commands the next call may hold, 1 to the maximum.
    pub(super) fn next_batch(&self) -> usize {
        let affordable = nanoseconds(CALL_TIME) / self.command_ns.load(Ordering::Relaxed).max(1);
        usize::try_from(affordable)
            .unwrap_or(self.batch_max)
            .min(self.batch_max)
            .max(1)
    }

    /// Records what a call has taken of Redis. Zero is no measurement: a server whose scripts cannot tell how long they run
    /// gets calls as small as the first one.
    pub(super) fn record(&self, commands: usize, took: Duration) {
        if took.is_zero() {
            return;
        }
        let Some(sample) = u64::try_from(commands)
            .ok()
            .and_then(|count| nanoseconds(took).checked_div(count))
        else {
            return;
        };
        // Of two calls that end at once one may go unrecorded: an estimate.
        let known = self.command_ns.load(Ordering::Relaxed);
        let next = if sample < known {
            known - (known - sample).div_ceil(CHEAPER_PART)
        } else {
            let sample = sample.min(known.saturating_mul(MOST_OF_A_SAMPLE));
            known + (sample - known).div_ceil(DEARER_PART)
        };
        self.command_ns.store(next.max(1), Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs full calls, each of which takes 100 µs and 30 µs for each command.
    fn run(pace: &CallPace, calls: usize, command_us: u64) {
        for _ in 0..calls {
            let commands = pace.next_batch();
            pace.record(commands, Duration::from_micros(100 + command_us * commands as u64));
        }
    }

    #[test]
    fn calls_grow_and_shrink_to_what_fits_into_their_time() {
        let pace = CallPace::new(256);
        run(&pace, 100, 30);
        assert!((7..=9).contains(&pace.next_batch()), "{}", pace.next_batch());
        run(&pace, 200, 120);
        assert_eq!(pace.next_batch(), 2);
        run(&pace, 200, 3_000);
        assert_eq!(pace.next_batch(), 1);
        for _ in 0..400 {
            pace.record(pace.next_batch(), Duration::from_micros(100));
        }
        assert_eq!(pace.next_batch(), 256);
    }

    #[test]
    fn redis_that_waits_for_a_processor_now_and_then_gets_no_smaller_calls() {
        let pace = CallPace::new(256);
        run(&pace, 100, 30);
        let undisturbed = pace.next_batch();
        for _ in 0..100 {
            run(&pace, 5, 30);
            pace.record(20, Duration::from_millis(12));
        }
        assert!(pace.next_batch() * 10 >= undisturbed * 8, "{}", pace.next_batch());
    }

    #[test]
    fn first_call_is_small_and_so_is_every_one_where_nothing_is_measured() {
        let pace = CallPace::new(256);
        assert_eq!(pace.next_batch(), 8);
        for _ in 0..200 {
            pace.record(8, Duration::ZERO);
        }
        pace.record(0, Duration::from_micros(1));
        assert_eq!(pace.next_batch(), 8);
        assert_eq!(CallPace::new(1).next_batch(), 1);
    }
}
