//! The end of a door: calls in flight finish within a grace period.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// What a drain leaves unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Calls that are still in flight at the end of the grace period.
    pub unfinished: usize,
}

/// Waits for the end of the task that accepts calls, and then for the calls in flight; both for at most `grace` in all.
pub(super) async fn drain_calls(
    door: &'static str,
    accepting_task: JoinHandle<()>,
    in_flight: &TaskTracker,
    grace: Duration,
) -> DrainReport {
    let drained = async {
        if let Err(error) = accepting_task.await {
            tracing::error!(%error, door, "the task of a door failed");
        }
        in_flight.close();
        in_flight.wait().await;
    };
    let is_drained = timeout(grace, drained).await.is_ok();
    DrainReport {
        unfinished: if is_drained { 0 } else { in_flight.len() },
    }
}
