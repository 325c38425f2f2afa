//! The kill switch: while trading is halted only cancels pass, and every open order of every broker and account is
//! cancelled. A claimed order cannot take effect any more (`store/lua/settle.lua`), so that it is released or
//! cancelled. If a worker dies during the sweep, the other workers cancel the remaining orders.

use std::collections::{BTreeSet, HashSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{TryStreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::id::{AccountId, BrokerId};
use crate::domain::order_terms::TradingState;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::wire::state::MAX_REMAINING_ORDERS;
use crate::worker::faults::store_unavailable;
use crate::worker::orders::cancel_sweep::{
    MAX_ORDERS_PER_SWEEP, SweepTally, SweepTimes, cancel_orders, count_cancelled, retry_until_sent,
};
use crate::worker::orders::open_orders::{list_open_keys, stream_open_accounts, stream_open_orders};
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;
use crate::worker::submission::idempotent_replay::IN_FLIGHT_POLL_INTERVAL;

/// How many accounts' open orders are listed at a time.
const LIST_CONCURRENCY: usize = 16;
/// The most accounts with open orders that are counted for the reply to a halt.
const MAX_COUNTED_ACCOUNTS: usize = 1_000_000;
/// The pause between two sweeps for open orders while trading is halted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before cancels are sent again that a broker has refused or not answered.
const REFUSED_RETRY_DELAY: Duration = Duration::from_millis(500);
/// The longest that one sweep cancels orders.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

/// The effect of a halt on the open orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HaltResult {
    /// How many orders were cancelled.
    pub cancelled: u64,
    /// The ids of orders that are still open, at most [`MAX_REMAINING_ORDERS`].
    pub remaining: Vec<String>,
    /// How many orders are still open.
    pub remaining_total: u64,
}

/// Cancels open orders while trading is halted, until the worker stops. It begins one interval after it has seen the halt:
/// the call that halts trading lists the open orders first, so that its reply counts those that are cancelled here, too.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, &stop);
    let mut was_halted = false;
    while runs.next().await {
        let sweep = async {
            let Ok(control) = router.control.refresh().await else {
                return was_halted;
            };
            let is_halted = control.trading_state == TradingState::Halted;
            if is_halted && was_halted {
                sweep_open_orders(&router).await;
            }
            is_halted
        };
        tokio::select! {
            () = stop.cancelled() => {}
            is_halted = sweep => was_halted = is_halted,
        }
    }
}

async fn sweep_open_orders(router: &Router) {
    let end = Timestamp::now().saturating_add(SWEEP_TIMEOUT);
    match cancel_all_open_orders(router, end).await {
        Ok(HaltResult { cancelled: 0, .. }) => {}
        Ok(HaltResult {
            cancelled,
            remaining_total,
            ..
        }) => {
            tracing::warn!(
                cancelled,
                remaining_total,
                "cancelled orders that were open while trading is halted"
            );
        }
        Err(fault) => {
            log_at_intervals!(warn, %fault, "open orders could not be cancelled while trading is halted; retrying")
        }
    }
}

/// Cancels every open order of every broker and account, and repeats until none is left or the deadline is near. No broker
/// waits for another.
///
/// # Errors
/// If the remaining orders cannot be read.
pub(in crate::worker) async fn cancel_all_open_orders(
    router: &Router,
    deadline: Timestamp,
) -> Result<HaltResult, Fault> {
    let times = SweepTimes::before(deadline);
    let sweeps = router.brokers.ids().map(async |broker| {
        let mut tally = SweepTally::default();
        let listed = list_open_keys(router, broker, MAX_ORDERS_PER_SWEEP).await;
        let swept = cancel_at(router, broker, times.cancel_until, &mut tally).await;
        if let Err(fault) = swept {
            log_at_intervals!(warn, %broker, %fault, "not every open order could be read; retrying");
        }
        // Other workers cancel as well: what they came to first was open when trading was halted, and counts.
        let elsewhere = listed.unwrap_or_default().into_iter();
        let elsewhere = elsewhere.filter(|key| !tally.has_met(key)).collect();
        let elsewhere = count_cancelled(router, elsewhere, times.count_until).await;
        tally.cancelled_total + tally.not_journaled_total + elsewhere
    });
    let cancelled = join_all(sweeps).await.into_iter().sum();
    let remaining = tokio::time::timeout_at(times.read_until, read_remaining(router));
    let (remaining, remaining_total) = remaining.await.unwrap_or_else(|_| {
        let detail = "the open orders could not be counted before the deadline; they are still being cancelled";
        Err(Fault::new(FaultCode::StoreUnavailable, detail))
    })?;
    Ok(HaltResult {
        cancelled,
        remaining,
        remaining_total,
    })
}

/// Cancels every open order at one broker, and repeats until none is open or the end.
///
/// # Errors
/// If the open orders cannot be read.
async fn cancel_at(router: &Router, broker: &BrokerId, end: Instant, tally: &mut SweepTally) -> Result<(), Fault> {
    loop {
        let mut has_open = false;
        let accounts = stream_open_accounts(router)
            .map_ok(|page| stream::iter(page.into_iter().filter(|(at, _)| at == broker).map(Ok)))
            .try_flatten();
        let orders = accounts
            .map_ok(|(_, account_id)| stream_open_orders(router, broker, &account_id))
            .try_flatten_unordered(LIST_CONCURRENCY)
            .inspect_ok(|_| has_open = true);
        cancel_orders(router, broker, orders, end, tally).await?;
        retry_until_sent(router, broker, (end, end), tally).await?;
        // A venue that has refused a cancel is not asked again at once.
        let pause = match tally.left() {
            0 => IN_FLIGHT_POLL_INTERVAL,
            _ => REFUSED_RETRY_DELAY,
        };
        if !has_open || Instant::now() + pause >= end {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
    }
}

/// Returns the ids of the orders that have not ended, at most [`MAX_REMAINING_ORDERS`], and how many there are.
///
/// # Errors
/// If the store does not reply.
async fn read_remaining(router: &Router) -> Result<(Vec<String>, u64), Fault> {
    let mut accounts = HashSet::new();
    let mut pages = pin!(stream_open_accounts(router));
    while let Some(page) = pages.try_next().await? {
        accounts.extend(page);
        if accounts.len() > MAX_COUNTED_ACCOUNTS {
            let detail = format!(
                "more than {MAX_COUNTED_ACCOUNTS} accounts have open orders: they are not counted, and are still being \
                 cancelled"
            );
            return Err(Fault::new(FaultCode::StoreUnavailable, detail));
        }
    }
    let accounts: Vec<(BrokerId, AccountId)> = accounts.into_iter().collect();
    let counts = router.store.count_open_orders(&accounts).await;
    let total = counts.map_err(store_unavailable)?.into_iter().sum();
    let mut ids = BTreeSet::new();
    for (broker, account_id) in &accounts {
        let mut orders = pin!(stream_open_orders(router, broker, account_id));
        while let Some(open) = orders.try_next().await? {
            if ids.len() >= MAX_REMAINING_ORDERS {
                return Ok((ids.into_iter().collect(), total));
            }
            ids.insert(open.order.order_id.to_string());
        }
    }
    Ok((ids.into_iter().collect(), total))
}
