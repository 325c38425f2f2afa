//! The background task of the trading day: refreshes the snapshot, opens days, and sets and lifts the locks they
//! require.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::time::TradingDate;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::worker::control::{locks, loss_locks};
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;

/// The pause between two checks whether the snapshot needs a refresh.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// Keeps the snapshot fresh and opens trading days, until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let (mut logged_error, mut date_with_lifts) = (String::new(), None);
    let mut runs = repeat_every(REFRESH_INTERVAL, &stop);
    while runs.next().await {
        refresh_if_needed(&router, &mut logged_error).await;
        lift_locks_of_new_day(&router, &mut date_with_lifts).await;
    }
}

/// Refreshes the snapshot if it needs to be. Logs an error once, until it changes.
async fn refresh_if_needed(router: &Router, logged_error: &mut String) {
    if !router.trading_day.needs_refresh() || router.store.epoch().is_none() {
        return;
    }
    match refresh_and_lock_breaches(router).await {
        Ok(()) => logged_error.clear(),
        Err(fault) if fault.detail != *logged_error => {
            tracing::warn!(
                error = fault.detail,
                "the day's profit and loss could not be read, or a lock that it requires could not be set; retrying"
            );
            *logged_error = fault.detail;
        }
        Err(_) => {}
    }
}

/// Lifts the locks that a new day lifts. Runs at a worker's start, too, and on every worker: the one that opened the
/// day may have died since.
async fn lift_locks_of_new_day(router: &Router, date_with_lifts: &mut Option<TradingDate>) {
    let active_date = router.control.current().trading_date;
    let Some(date) = active_date.filter(|_| active_date != *date_with_lifts) else {
        return;
    };
    match locks::lift_daily_loss_locks(router, date).await {
        Ok(_) => *date_with_lifts = active_date,
        Err(fault) => {
            log_at_intervals!(warn, %fault, "the locks that the new day lifts could not be lifted yet; retrying")
        }
    }
}

/// Refreshes the snapshot and sets the locks that it requires.
async fn refresh_and_lock_breaches(router: &Router) -> Result<(), Fault> {
    router.trading_day.refresh().await?;
    match router.trading_day.valid_pnl() {
        Some((control, day_pnl)) => loss_locks::lock_loss_breaches(router, &control, &day_pnl).await,
        None => Ok(()),
    }
}
