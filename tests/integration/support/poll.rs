//! Waiting for something to become true, with a deadline.

use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Returns the first `Some` that `probe` returns.
///
/// `probe` is called repeatedly, at first every two milliseconds and then less often. A probe that hangs is cancelled at
/// the deadline.
///
/// # Panics
/// When there is none within `deadline`; the message names `what` was awaited, and where.
#[track_caller]
pub fn eventually<T>(
    deadline: Duration,
    what: impl Into<String>,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let (what, caller) = (what.into(), Location::caller());
    async move {
        let end = Instant::now() + deadline;
        let mut pause = FIRST_PAUSE;
        let mut probes = 0_u32;
        loop {
            probes += 1;
            match timeout_at(end, probe()).await {
                Ok(Some(found)) => return found,
                Ok(None) if Instant::now() < end => sleep(pause).await,
                _ => panic!("not within {deadline:?} ({probes} probes): {what}; awaited at {caller}"),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// As [`eventually`].
#[track_caller]
pub fn until(
    deadline: Duration,
    what: impl Into<String>,
    mut condition: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    eventually(deadline, what, async move || condition().await.then_some(()))
}
