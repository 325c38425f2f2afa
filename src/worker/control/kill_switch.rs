//! The kill switch: while trading is halted nothing but cancels passes, and every open order of every broker and account
//! is cancelled. An order that is claimed cannot take effect any more (`lua/settle.lua`), so that it is released or
//! cancelled. Whoever dies in the middle leaves the rest to the other workers.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::order_terms::{OrderStatus, TradingState};
use crate::domain::reason::ReasonCode;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::keys::OrderKey;
use crate::wire::state::MAX_REMAINING_ORDERS;
use crate::worker::journaling::append::SubmissionOutcome;
use crate::worker::orders;
use crate::worker::orders::AccountCaller;
use crate::worker::router::Router;
use crate::worker::submission::claim::store_unavailable;
use crate::worker::submission::idempotent_replay::IN_FLIGHT_POLL_INTERVAL;

/// How many orders are cancelled at a time.
const CANCEL_CONCURRENCY: usize = 32;
/// How often it is looked for orders that are open while trading is halted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long one such look works on what it finds.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is kept of a call's time for its answer.
const REPLY_MARGIN: Duration = Duration::from_millis(300);

/// What halting did to the open orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HaltResult {
    /// How many orders were cancelled.
    pub cancelled: u64,
    /// The ids of orders that are still open, at most [`MAX_REMAINING`].
    pub remaining: Vec<String>,
    /// How many are.
    pub remaining_total: u64,
}

/// Cancels what is open while trading is halted, until it is stopped.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let is_halted =
            matches!(router.control.refresh().await, Ok(control) if control.trading_state == TradingState::Halted);
        if is_halted {
            let end = Timestamp::now().saturating_add(SWEEP_TIMEOUT);
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = cancel_all_open_orders(&router, end) => done,
            };
            match done {
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
                Err(fault) => tracing::warn!(%fault, "what is open while trading is halted is cancelled later"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SWEEP_INTERVAL) => {}
        }
    }
}

/// Cancels every open order of every broker and account, and looks again until none is left or the deadline is near.
///
/// # Errors
/// When it cannot be told what remains.
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
        // What the end cuts off is cancelled all the same, or remains and is told of.
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

/// Returns every order that has not ended, with whom to cancel it for.
async fn list_open_orders(router: &Router, deadline: Timestamp) -> Result<Vec<(AccountCaller, OrderKey)>, Fault> {
    let mut open = Vec::new();
    let open_accounts = router.store.list_open_accounts().await;
    for (broker, account_id) in open_accounts.map_err(|error| store_unavailable(&error))? {
        let keys = router.store.list_open_orders(&broker, &account_id).await;
        for key in keys.map_err(|error| store_unavailable(&error))? {
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

/// Cancels one order; returns whether it is cancelled then, by this call or by another one.
async fn cancel_open_order(router: &Router, caller: &AccountCaller, key: &OrderKey) -> bool {
    let told = match orders::cancel_by_key(router, caller, key).await {
        Ok(told) => Some(told),
        Err(fault) if fault.code == FaultCode::OrderClosed => {
            crate::worker::journaling::current_report::current_report(router, key)
                .await
                .ok()
                .flatten()
        }
        // It was released: it never took effect.
        Err(fault) if fault.code == FaultCode::UnknownOrder => None,
        Err(fault) => {
            tracing::warn!(order = key.name(), %fault, "an order could not be cancelled yet");
            None
        }
    };
    // A receipt that is only not journaled yet stands for a cancel that is settled.
    let is_done = |told: &SubmissionOutcome| {
        told.report.status == OrderStatus::Cancelled || told.report.receipt_code() == Some(ReasonCode::NotJournaled)
    };
    told.as_ref().is_some_and(is_done)
}

/// Returns the ids of the orders that have not ended; the name of one whose id cannot be read.
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
