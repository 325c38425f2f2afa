//! The progress of a command that reads the journal: a bar on a terminal, a log line now and then elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep};

use crate::worker::rebuild::fold_position::FoldPosition;

/// A journal that is read within this time shows no progress.
const QUIET_PERIOD: Duration = Duration::from_millis(500);
/// How often the bar is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often progress is logged where there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
const BAR_TEMPLATE: &str = "journal [{bar:40}] {human_pos}/{human_len} entries, {per_sec}, {eta} left";

/// Awaits a step, and shows how far it has read the journal meanwhile.
pub(crate) async fn with_progress<T>(position: watch::Receiver<FoldPosition>, step: impl Future<Output = T>) -> T {
    tokio::select! {
        done = step => done,
        never = show(position) => match never {},
    }
}

/// Shows the progress for as long as it is polled.
async fn show(position: watch::Receiver<FoldPosition>) -> std::convert::Infallible {
    sleep(QUIET_PERIOD).await;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(BAR_TEMPLATE) {
        bar.set_style(style);
    }
    // The bar is cleared when the step is done and this is dropped.
    let _cleared_at_the_end = ClearedBar(bar.clone());
    let (mut ticks, mut logged_at) = (interval(REDRAW_INTERVAL), Instant::now());
    loop {
        ticks.tick().await;
        let FoldPosition {
            sequence,
            last_sequence,
        } = *position.borrow();
        bar.set_length(last_sequence);
        bar.set_position(sequence);
        if bar.is_hidden() && sequence < last_sequence && logged_at.elapsed() >= LOG_INTERVAL {
            logged_at = Instant::now();
            tracing::warn!(at = sequence, last = last_sequence, "reading the journal");
        }
    }
}

struct ClearedBar(ProgressBar);

impl Drop for ClearedBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
