//! The loop of every background task: work, wait, repeat.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The runs of a background task.
pub(in crate::worker) struct Runs<'a> {
    interval: Duration,
    stop: &'a CancellationToken,
    is_first: bool,
}

/// Returns the runs of a task that repeats until the worker stops, with a pause of `interval` after each run.
pub(in crate::worker) fn repeat_every(interval: Duration, stop: &CancellationToken) -> Runs<'_> {
    Runs {
        interval,
        stop,
        is_first: true,
    }
}

impl Runs<'_> {
    /// Waits for the next run; the first one starts at once. Returns `false` once the worker stops.
    pub(in crate::worker) async fn next(&mut self) -> bool {
        if !std::mem::take(&mut self.is_first) {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(self.interval) => {}
            }
        }
        !self.stop.is_cancelled()
    }
}
