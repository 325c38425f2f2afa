//! The progress of an order log that catches up with the journal: a bar on a terminal, a log line now and then elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep};

use crate::order_log::{OrderLogStatus, SyncState};

/// An order log that is complete within this time shows no progress.
const QUIET_PERIOD: Duration = Duration::from_millis(500);
/// How often the bar is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often progress is logged where there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
const BAR_TEMPLATE: &str = "order log [{bar:40}] {human_pos}/{human_len} entries, {per_sec}, {eta} left";

/// Shows the progress until the order log is complete.
pub(crate) async fn show_progress(mut status: watch::Receiver<OrderLogStatus>) {
    let is_complete = |status: &OrderLogStatus| status.is_complete;
    tokio::select! {
        _ = status.wait_for(is_complete) => return,
        () = sleep(QUIET_PERIOD) => {}
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(BAR_TEMPLATE) {
        bar.set_style(style);
    }
    let (mut ticks, mut logged_at) = (interval(REDRAW_INTERVAL), Instant::now());
    loop {
        tokio::select! {
            _ = status.wait_for(is_complete) => break,
            _ = ticks.tick() => {}
        }
        let now = status.borrow_and_update().clone();
        bar.set_length(now.journal_last_sequence);
        bar.set_position(now.journal_sequence);
        if bar.is_hidden() && now.sync_state == SyncState::CatchingUp && logged_at.elapsed() >= LOG_INTERVAL {
            logged_at = Instant::now();
            let (at, last) = (now.journal_sequence, now.journal_last_sequence);
            tracing::info!(at, last, "the order log is catching up with the journal");
        }
    }
    bar.finish_and_clear();
}
