//! How far the order log has come, for whoever waits for it: a bar on a terminal, a line now and then elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep};

use crate::order_log::{OrderLogStatus, SyncState};

/// A log that is whole within this time is not worth a word.
const QUIET_PERIOD: Duration = Duration::from_millis(500);
/// How often a bar is drawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
const BAR_TEMPLATE: &str = "order log [{bar:40}] {human_pos}/{human_len} entries, {per_sec}, {eta} left";

/// Shows how the log catches up with the journal, until it is whole.
pub(crate) async fn show_progress(mut status: watch::Receiver<OrderLogStatus>) {
    let is_whole = |status: &OrderLogStatus| status.is_complete;
    tokio::select! {
        _ = status.wait_for(is_whole) => return,
        () = sleep(QUIET_PERIOD) => {}
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(BAR_TEMPLATE) {
        bar.set_style(style);
    }
    let (mut ticks, mut told_at) = (interval(REDRAW_INTERVAL), Instant::now());
    loop {
        tokio::select! {
            _ = status.wait_for(is_whole) => break,
            _ = ticks.tick() => {}
        }
        let now = status.borrow_and_update().clone();
        bar.set_length(now.journal_last_sequence);
        bar.set_position(now.journal_sequence);
        if bar.is_hidden() && now.sync_state == SyncState::CatchingUp && told_at.elapsed() >= LOG_INTERVAL {
            told_at = Instant::now();
            let (at, last) = (now.journal_sequence, now.journal_last_sequence);
            tracing::info!(at, last, "the order log is being made from the journal");
        }
    }
    bar.finish_and_clear();
}
