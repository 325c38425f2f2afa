//! The kill switch: while trading is halted only cancels pass, and every open order of every broker and account is
//! cancelled. A claimed order cannot take effect any more (`store/lua/settle.lua`), so that it is released or
//! cancelled. If a worker dies during the sweep, the other workers cancel the remaining orders.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::{OrderStatus, TradingState};
use crate::domain::reason::ReasonCode;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::wire::state::MAX_REMAINING_ORDERS;
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::current_report::current_report;
use crate::worker::orders::account_caller::AccountCaller;
use crate::worker::orders::cancel::cancel_by_key;
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;
use crate::worker::submission::idempotent_replay::IN_FLIGHT_POLL_INTERVAL;
use crate::worker::submission::outcome::SubmissionOutcome;

/// How many orders are cancelled at a time.
const CANCEL_CONCURRENCY: usize = 32;
/// The pause between two sweeps for open orders while trading is halted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that one sweep cancels orders.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

/// The part of a call's time that is reserved for its reply.
const REPLY_MARGIN: Duration = Duration::from_millis(300);

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

/// Cancels open orders while trading is halted, until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, &stop);
    while runs.next().await {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sweep_if_halted(&router) => {}
        }
    }
}

async fn sweep_if_halted(router: &Router) {
    let is_halted =
        matches!(router.control.refresh().await, Ok(control) if control.trading_state == TradingState::Halted);
    if !is_halted {
        return;
    }
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

/// Cancels every open order of every broker and account, and repeats until none is left or the deadline is near.
///
/// # Errors
/// If the remaining orders cannot be read.
pub(in crate::worker) async fn cancel_all_open_orders(
    router: &Router,
    deadline: Timestamp,
) -> Result<HaltResult, Fault> {
    let left = deadline.saturating_duration_since(Timestamp::now());
    let end = Instant::now() + left.saturating_sub(REPLY_MARGIN.min(left / 4));
    let mut cancelled = BTreeSet::new();
    loop {
        let open = list_open_orders(router, deadline).await?;
        if open.is_empty() || Instant::now() >= end {
            break;
        }
        let cancels = stream::iter(open)
            .map(|(caller, key)| async move { cancel_open_order(router, &caller, &key).await.then(|| key.name()) })
            .buffer_unordered(CANCEL_CONCURRENCY);
        let mut cancels = std::pin::pin!(cancels);
        // A cancel that the end cuts off takes effect all the same, or its order is listed as remaining.
        while let Ok(Some(name)) = tokio::time::timeout_at(end, cancels.next()).await {
            cancelled.extend(name);
        }
        tokio::time::sleep(IN_FLIGHT_POLL_INTERVAL).await;
    }
    let remaining = list_remaining_order_ids(router, deadline).await?;
    Ok(HaltResult {
        cancelled: u64::try_from(cancelled.len()).unwrap_or(u64::MAX),
        remaining_total: u64::try_from(remaining.len()).unwrap_or(u64::MAX),
        remaining: remaining.into_iter().take(MAX_REMAINING_ORDERS).collect(),
    })
}

/// Returns every order that has not ended, with the caller to cancel it as.
async fn list_open_orders(router: &Router, deadline: Timestamp) -> Result<Vec<(AccountCaller, OrderKey)>, Fault> {
    let mut open = Vec::new();
    let open_accounts = router.store.list_open_accounts().await;
    for (broker, account_id) in open_accounts.map_err(store_unavailable)? {
        let keys = router.store.list_open_orders(&broker, &account_id).await;
        for key in keys.map_err(store_unavailable)? {
            let caller = AccountCaller {
                broker: broker.clone(),
                account_id: account_id.clone(),
                deadline,
            };
            open.push((caller, key));
        }
    }
    Ok(open)
}

/// Cancels one order. Reports whether it is cancelled, by this call or by another one.
async fn cancel_open_order(router: &Router, caller: &AccountCaller, key: &OrderKey) -> bool {
    let outcome = match cancel_by_key(router, caller, key).await {
        Ok(outcome) => Some(outcome),
        Err(fault) if fault.code == FaultCode::OrderClosed => current_report(router, key).await.ok().flatten(),
        // The order was released: it never took effect.
        Err(fault) if fault.code == FaultCode::UnknownOrder => None,
        Err(fault) => {
            log_at_intervals!(warn, order = key.name(), %fault, "an order could not be cancelled; retrying");
            None
        }
    };
    // A receipt with `not_journaled` means that the cancel is settled.
    let is_cancelled = |outcome: &SubmissionOutcome| {
        let report = &outcome.report;
        report.status == OrderStatus::Cancelled || report.receipt_code() == Some(ReasonCode::NotJournaled)
    };
    outcome.as_ref().is_some_and(is_cancelled)
}

/// Returns the ids of the orders that have not ended; the key's name for an order whose record cannot be read.
async fn list_remaining_order_ids(router: &Router, deadline: Timestamp) -> Result<Vec<String>, Fault> {
    let ids = stream::iter(list_open_orders(router, deadline).await?).map(|(_, key)| async move {
        match router.store.read_order(&key).await {
            Ok(Some(record)) => Some(record.known.order_id.to_string()),
            Ok(None) => None,
            Err(_) => Some(key.name()),
        }
    });
    let ids = ids
        .buffer_unordered(CANCEL_CONCURRENCY)
        .filter_map(|id| async move { id });
    Ok(ids.collect().await)
}
