//! The background task of the trading day: opens days, looks at accounts that send no orders, and sets and lifts the locks
//! that losses require.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::time::TradingDate;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::risk::rules::max_daily_loss::DayLoss;
use crate::worker::control::{fee_locks, locks, loss_locks};
use crate::worker::faults::store_unavailable;
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;

/// The pause between two checks whether a refresh is due.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);
/// The pause between two looks at accounts that hold something, of all workers together.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
/// The pause between two turns where each reads all accounts that hold something.
const SWEEP_ROUND: Duration = Duration::from_secs(1);

/// Opens trading days and looks at losses, until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let (mut logged_error, mut date_with_lifts) = (String::new(), None);
    let mut runs = repeat_every(REFRESH_INTERVAL, &stop);
    while runs.next().await {
        refresh_if_needed(&router, &mut logged_error).await;
        lift_locks_of_new_day(&router, &mut date_with_lifts).await;
    }
}

/// Looks at the losses of all accounts and of some that hold something. Logs an error once, until it changes.
async fn refresh_if_needed(router: &Router, logged_error: &mut String) {
    if router.store.epoch().is_none() {
        return;
    }
    let refreshed = async {
        if router.trading_day.needs_refresh() {
            let (control, date, total) = router.trading_day.refresh().await?;
            loss_locks::lock_breaches(router, &control, date, &[DayLoss::of_all(&total)]).await?;
        }
        sweep_accounts(router).await
    };
    match refreshed.await {
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

/// Looks at some of the accounts that hold something, where it is this worker's turn: prices move their losses without any
/// order of theirs.
async fn sweep_accounts(router: &Router) -> Result<(), Fault> {
    let control = router.control.current();
    let Some(date) = control.trading_date else {
        return Ok(());
    };
    let turn = router
        .store
        .take_sweep_turn(control.mode, SWEEP_INTERVAL, SWEEP_ROUND)
        .await;
    let Some(accounts) = turn.map_err(store_unavailable)? else {
        return Ok(());
    };
    let read = accounts.into_iter().map(|account_id| async move {
        let view = router.trading_day.read_account(account_id.clone()).await?;
        Ok::<_, Fault>(view.map(|view| (account_id, view)))
    });
    let views: Vec<_> = futures_util::future::try_join_all(read)
        .await?
        .into_iter()
        .flatten()
        .collect();
    for (account_id, _) in views.iter().filter(|(_, view)| view.unpriced_fees > 0) {
        fee_locks::lock_account(router, &control, account_id).await?;
    }
    let losses: Vec<_> = views
        .into_iter()
        .map(|(account_id, view)| DayLoss::of_account(account_id, &view))
        .collect();
    loss_locks::lock_breaches(router, &control, date, &losses).await
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
