//! How long and how often a caller repeats a call.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::chaos::random::SeededDraws;

/// The pause between two calls of one intent, in milliseconds.
const RETRY_PAUSE_MS: (u64, u64) = (20, 500);
/// How long a caller still tries once every fault is over.
const CALLER_TIMEOUT: Duration = Duration::from_secs(60);

/// Reports whether a caller gives up: every fault is over for so long.
pub(in crate::chaos) fn is_over(recovered: &watch::Receiver<bool>, give_up_at: &mut Option<Instant>) -> bool {
    *recovered.borrow() && Instant::now() >= *give_up_at.get_or_insert(Instant::now() + CALLER_TIMEOUT)
}

/// Waits for the pause between two calls of one intent.
pub(in crate::chaos) async fn pause_before_retry(draws: &mut SeededDraws) {
    sleep(Duration::from_millis(draws.between(RETRY_PAUSE_MS.0, RETRY_PAUSE_MS.1))).await;
}
