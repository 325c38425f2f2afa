//! Cancels of many open orders: a bounded number at a time, until a moment, with an exact account of what became of each.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, Stream};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::domain::id::BrokerId;
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::OrderStatus;
use crate::domain::reason::ReasonCode;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::store::orders::record::RecordStage;
use crate::wire::order_reference::{MAX_LISTED_ORDERS, OrderSelector};
use crate::wire::report::ExecutionReport;
use crate::worker::journaling::current_report::current_report;
use crate::worker::orders::cancel::cancel_at_broker;
use crate::worker::orders::open_orders::{OpenOrder, read_open_orders};
use crate::worker::router::Router;
use crate::worker::submission::idempotent_replay::IN_FLIGHT_POLL_INTERVAL;

/// The most cancels of one sweep that are in flight at a time. Where a quarter of the broker's queue of cancels is less,
/// that is the bound: other cancels must find room.
const MAX_CANCEL_CONCURRENCY: usize = 256;
/// The share of the broker's queue of cancels that a sweep may take.
const QUEUE_SHARE: usize = 4;
/// The most orders that one sweep handles; those beyond it remain open for the next.
pub(in crate::worker) const MAX_ORDERS_PER_SWEEP: usize = 1_000_000;
/// How many reports are read at a time.
pub(in crate::worker) const READ_CONCURRENCY: usize = 32;
/// The share of a call's time that is reserved for its reply, and the most of it.
const REPLY_SHARE: u32 = 4;
const MAX_REPLY_MARGIN: Duration = Duration::from_millis(600);

/// The moments that bound a sweep.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) struct SweepTimes {
    /// No cancel is sent or awaited after this moment.
    pub(in crate::worker) cancel_until: Instant,
    /// Orders that other workers have cancelled are counted until this moment.
    pub(in crate::worker) count_until: Instant,
    /// The remaining orders are read until this moment; then the reply is sent.
    pub(in crate::worker) read_until: Instant,
}

impl SweepTimes {
    /// Returns the moments for a call with this deadline.
    pub(in crate::worker) fn before(deadline: Timestamp) -> Self {
        let (now, left) = (Instant::now(), deadline.saturating_duration_since(Timestamp::now()));
        let margin = MAX_REPLY_MARGIN.min(left / REPLY_SHARE);
        Self {
            cancel_until: now + (left - margin),
            count_until: now + (left - margin * 2 / 3),
            read_until: now + (left - margin / 3),
        }
    }
}

/// What became of one order.
#[derive(Debug)]
pub(in crate::worker) enum SweptOrder {
    /// It is cancelled, by this sweep or by another call, and its report is journaled.
    Cancelled(Box<ExecutionReport>),
    /// It is cancelled, and its report is not journaled yet: a receipt.
    NotJournaled(Box<ExecutionReport>),
    /// It has ended in another way.
    Ended,
    /// Nothing was sent: a later attempt may succeed.
    NotYet(SendObstacle),
    /// It is open, or its outcome is unknown.
    Open,
}

/// Why nothing was sent to an order yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum SendObstacle {
    /// The order is in flight.
    InFlight,
    /// The broker's queue of cancels is full.
    QueueFull,
}

/// An account of a sweep.
#[derive(Debug, Default)]
pub(in crate::worker) struct SweepTally {
    /// How many orders are cancelled.
    pub(in crate::worker) cancelled_total: u64,
    /// The first reports of those, at most [`MAX_LISTED_ORDERS`].
    pub(in crate::worker) cancelled: Vec<ExecutionReport>,
    /// How many orders are cancelled with a report that is not journaled yet.
    pub(in crate::worker) not_journaled_total: u64,
    /// The first receipts of those, at most [`MAX_LISTED_ORDERS`].
    pub(in crate::worker) not_journaled: Vec<ExecutionReport>,
    /// Every order that the sweep met, and whether it is still to be cancelled.
    met: HashMap<OrderKey, bool>,
    /// Orders to which nothing was sent yet.
    not_yet: HashMap<OrderKey, SendObstacle>,
    /// Orders whose cancel was sent and not answered before the end.
    unanswered: HashMap<OrderKey, Order>,
}

impl SweepTally {
    /// Reports whether the sweep met no order.
    pub(in crate::worker) fn is_empty(&self) -> bool {
        self.met.is_empty()
    }

    /// Reports whether the sweep met an order.
    pub(in crate::worker) fn has_met(&self, key: &OrderKey) -> bool {
        self.met.contains_key(key)
    }

    /// Returns how many orders the sweep met that are not known to have ended.
    pub(in crate::worker) fn left(&self) -> usize {
        self.met.values().filter(|is_left| **is_left).count()
    }

    /// Returns the orders whose cancel was sent and not answered before the end, and forgets them.
    pub(in crate::worker) fn take_unanswered(&mut self) -> HashMap<OrderKey, Order> {
        std::mem::take(&mut self.unanswered)
    }

    /// Records that an order is to be cancelled. Reports whether it is: one that has ended is not, and neither is one
    /// beyond the bound of a sweep.
    fn start(&mut self, order: &OpenOrder) -> bool {
        let key = &order.record.key;
        if self.unanswered.contains_key(key) || self.met.get(key) == Some(&false) {
            return false;
        }
        if self.met.len() >= MAX_ORDERS_PER_SWEEP && !self.met.contains_key(key) {
            return false;
        }
        self.met.insert(*key, true);
        self.unanswered.insert(*key, order.order.clone());
        true
    }

    /// Records what became of an order.
    pub(in crate::worker) fn finish(&mut self, key: OrderKey, result: SweptOrder) {
        self.unanswered.remove(&key);
        self.not_yet.remove(&key);
        let list = |reports: &mut Vec<ExecutionReport>, report: Box<ExecutionReport>| {
            if reports.len() < MAX_LISTED_ORDERS {
                reports.push(*report);
            }
        };
        match result {
            SweptOrder::Cancelled(report) => {
                self.cancelled_total += 1;
                list(&mut self.cancelled, report);
            }
            SweptOrder::NotJournaled(report) => {
                self.not_journaled_total += 1;
                list(&mut self.not_journaled, report);
            }
            SweptOrder::Ended => {}
            SweptOrder::Open => return,
            SweptOrder::NotYet(obstacle) => {
                self.not_yet.insert(key, obstacle);
                return;
            }
        }
        self.met.insert(key, false);
    }
}

/// Returns how many cancels of a sweep may be in flight at a broker.
pub(in crate::worker) fn cancel_concurrency(router: &Router, broker: &BrokerId) -> usize {
    // The orders of a sweep may belong to any of the broker's venues: the smallest queue holds them all.
    let queues = router
        .brokers
        .of_broker(broker)
        .map(|(_, handle)| handle.cancel_queue_capacity());
    let share = queues.min().unwrap_or_default() / QUEUE_SHARE;
    share.clamp(1, MAX_CANCEL_CONCURRENCY)
}

/// Cancels orders of one broker as they are read, until `end`. A cancel that the end cuts off may take effect all the
/// same.
///
/// # Errors
/// If the orders cannot be read; what was sent before is in the tally.
pub(in crate::worker) async fn cancel_orders(
    router: &Router,
    broker: &BrokerId,
    orders: impl Stream<Item = Result<OpenOrder, Fault>>,
    end: Instant,
    tally: &mut SweepTally,
) -> Result<(), Fault> {
    let mut orders = pin!(orders);
    let max_in_flight = cancel_concurrency(router, broker);
    let mut cancels = FuturesUnordered::new();
    let mut result = Ok(());
    let mut has_more = true;
    let mut at_end = pin!(tokio::time::sleep_until(end));
    while has_more || !cancels.is_empty() {
        tokio::select! {
            biased;
            () = &mut at_end => return result,
            Some((key, swept)) = cancels.next(), if !cancels.is_empty() => tally.finish(key, swept),
            next = orders.next(), if has_more && cancels.len() < max_in_flight => match next {
                Some(Ok(order)) if order.order.broker == *broker && tally.start(&order) => {
                    cancels.push(cancel_open_order(router, order));
                }
                Some(Ok(_)) => {}
                Some(Err(fault)) => (result, has_more) = (Err(fault), false),
                None => has_more = false,
            },
        }
    }
    result
}

/// Cancels the orders to which nothing was sent yet, again and again until none is left or the end; those in flight until
/// `in_flight_until`.
///
/// # Errors
/// If the orders cannot be read.
pub(in crate::worker) async fn retry_until_sent(
    router: &Router,
    broker: &BrokerId,
    (end, in_flight_until): (Instant, Instant),
    tally: &mut SweepTally,
) -> Result<(), Fault> {
    while Instant::now() + IN_FLIGHT_POLL_INTERVAL < end {
        let is_awaited =
            |obstacle: &SendObstacle| *obstacle == SendObstacle::QueueFull || Instant::now() < in_flight_until;
        let awaited = tally.not_yet.iter().filter(|(_, obstacle)| is_awaited(obstacle));
        let keys: Vec<OrderKey> = awaited.map(|(key, _)| *key).collect();
        if keys.is_empty() {
            break;
        }
        tokio::time::sleep(IN_FLIGHT_POLL_INTERVAL).await;
        let found = read_open_orders(router, &keys).await?;
        let open: HashSet<&OrderKey> = found.iter().map(|order| &order.record.key).collect();
        // A record without a document was released, or has ended.
        let closed: Vec<OrderKey> = keys.iter().filter(|key| !open.contains(key)).copied().collect();
        let results = stream::iter(closed).map(|key| async move {
            let ended = tokio::time::timeout_at(end, ended_order(router, &key)).await;
            (key, ended.unwrap_or(SweptOrder::Ended))
        });
        let mut results = pin!(results.buffer_unordered(READ_CONCURRENCY));
        while let Some((key, result)) = results.next().await {
            tally.finish(key, result);
        }
        let orders = stream::iter(found.into_iter().map(Ok));
        cancel_orders(router, broker, orders, end, tally).await?;
    }
    Ok(())
}

async fn cancel_open_order(router: &Router, open: OpenOrder) -> (OrderKey, SweptOrder) {
    let OpenOrder { record, order } = open;
    let swept = match record.stage {
        RecordStage::Claimed | RecordStage::Sending | RecordStage::Releasing => {
            SweptOrder::NotYet(SendObstacle::InFlight)
        }
        RecordStage::Ended => ended_order(router, &record.key).await,
        RecordStage::Denied | RecordStage::Released => SweptOrder::Ended,
        RecordStage::Open => {
            let selector = OrderSelector::OrderId(order.order_id.clone());
            match cancel_at_broker(router, &order, &selector).await {
                Ok(outcome) => swept_order(outcome.report),
                Err(fault) => swept_after_fault(router, &record.key, &fault).await,
            }
        }
    };
    (record.key, swept)
}

/// Returns how many of some orders are cancelled, as far as that can be read until `end`.
pub(in crate::worker) async fn count_cancelled(router: &Router, keys: Vec<OrderKey>, end: Instant) -> u64 {
    let cancelled = stream::iter(keys).map(|key| async move {
        let report = tokio::time::timeout_at(end, current_report(router, &key)).await;
        matches!(report, Ok(Ok(Some(outcome))) if outcome.report.status == OrderStatus::Cancelled)
    });
    let cancelled = cancelled.buffer_unordered(READ_CONCURRENCY);
    let count = cancelled.filter(|is_cancelled| ready(*is_cancelled)).count().await;
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Returns what a report or receipt says of an order.
pub(in crate::worker) fn swept_order(report: ExecutionReport) -> SweptOrder {
    match report.receipt_code() {
        Some(ReasonCode::NotJournaled) => SweptOrder::NotJournaled(Box::new(report)),
        Some(_) => SweptOrder::Open,
        None if report.status == OrderStatus::Cancelled => SweptOrder::Cancelled(Box::new(report)),
        None if report.status.is_terminal() => SweptOrder::Ended,
        None => SweptOrder::Open,
    }
}

/// Returns how an order has ended that is not open any more: another call may have cancelled it.
async fn ended_order(router: &Router, key: &OrderKey) -> SweptOrder {
    match current_report(router, key).await {
        Ok(Some(outcome)) => swept_order(outcome.report),
        _ => SweptOrder::Ended,
    }
}

async fn swept_after_fault(router: &Router, key: &OrderKey, fault: &Fault) -> SweptOrder {
    match fault.code {
        FaultCode::OrderClosed => ended_order(router, key).await,
        FaultCode::QueueFull => SweptOrder::NotYet(SendObstacle::QueueFull),
        _ => {
            log_at_intervals!(warn, order = key.name(), %fault, "an order could not be cancelled");
            SweptOrder::Open
        }
    }
}
