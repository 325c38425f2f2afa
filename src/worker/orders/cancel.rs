//! Cancels: one order, or every open order of an account at a broker.

use futures_util::StreamExt;
use futures_util::stream;

use crate::brokers::adapter::{CancelOutcome, NotSentReason};
use crate::bus::request::{BusReply, BusRequest};
use crate::domain::id::BrokerId;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::domain::reason::ReasonCode;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::store::sums::cancel_rate::ExceededRate;
use crate::wire::order_reference::{CancelAllReply, OrderSelector, decode_cancel_all, decode_order_selector};
use crate::wire::report::ExecutionReport;
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::journaling::{append, current_report, settlement};
use crate::worker::orders::account_caller::{AccountCaller, read_unreported_order, unknown_order_fault};
use crate::worker::reply::encode_reply;
use crate::worker::router::Router;
use crate::worker::submission::idempotent_replay::{IN_FLIGHT_POLL_INTERVAL, MAX_IN_FLIGHT_WAIT};
use crate::worker::submission::outcome::SubmissionOutcome;

/// The most orders that one cancel-all cancels: their reports fit into one message. The reply lists the remaining
/// orders, and the caller cancels again.
pub const MAX_CANCELS_PER_REQUEST: usize = 500;
/// How many orders of one cancel-all are cancelled at a time.
const CANCEL_CONCURRENCY: usize = 32;

/// Counts a cancel against the rate limits of cancels, the only rule that stops a cancel. Orders have rate limits of
/// their own.
///
/// # Errors
/// `rate_limited` beyond a limit.
async fn check_cancel_rate(router: &Router, caller: &AccountCaller) -> Result<(), Fault> {
    let limits = router.limits.cancel_rates;
    let counted = router
        .store
        .count_cancel(&caller.broker, &caller.account_id, limits)
        .await;
    let (owner, limit) = match counted.map_err(store_unavailable)? {
        None => return Ok(()),
        Some(ExceededRate::Account(limit)) => ("the account", limit),
        Some(ExceededRate::Broker(limit)) => ("the broker", limit),
    };
    let detail = format!("{owner} has had {limit} cancels within this second, which is the limit; cancel again");
    Err(Fault::new(FaultCode::RateLimited, detail))
}

/// Cancels one order and replies with its report.
///
/// # Errors
/// `unknown_order`; `order_closed` for an order that has ended in any way.
pub async fn cancel_order(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let selector = decode_order_selector(&call.body)?;
    let caller = AccountCaller::from_order_call(router, call, &selector).await?;
    check_cancel_rate(router, &caller).await?;
    let key = caller.find_order_key(router, &selector).await?;
    cancel_selected_order(router, &caller, &key, &selector)
        .await
        .map(|outcome| outcome.to_reply())
}

/// Cancels every open order of an account at a broker, or of one symbol of it. Replies with the cancelled orders and
/// with those that remain open.
///
/// # Errors
/// `unsupported_pair` for a symbol that the broker does not trade, unless an order in it is open. If the open orders cannot
/// be read before anything was sent.
pub async fn cancel_all_orders(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let caller = AccountCaller::from_call(router, call)?;
    let symbol = decode_cancel_all(&call.body)?;
    check_cancel_rate(router, &caller).await?;
    let is_requested = |order: &Order| symbol.as_ref().is_none_or(|symbol| order.symbol == *symbol);
    let mut requested = list_open_orders(router, &caller).await?;
    requested.retain(|(_, order)| is_requested(order));
    if let Some(symbol) = symbol.as_ref().filter(|_| requested.is_empty()) {
        check_is_traded(router, &caller.broker, symbol)?;
    }
    requested.truncate(MAX_CANCELS_PER_REQUEST);
    let cancels = stream::iter(requested.clone()).map(|(key, order)| {
        let caller = &caller;
        async move {
            let selector = OrderSelector::OrderId(order.order_id.clone());
            cancel_selected_order(router, caller, &key, &selector).await.ok()
        }
    });
    let outcomes: Vec<Option<SubmissionOutcome>> = cancels.buffer_unordered(CANCEL_CONCURRENCY).collect().await;
    let cancelled: Vec<ExecutionReport> = outcomes
        .into_iter()
        .flatten()
        .filter(|outcome| !outcome.is_receipt())
        .map(|outcome| outcome.report)
        .collect();
    let still_open = match list_open_orders(router, &caller).await {
        Ok(mut open) => {
            open.retain(|(_, order)| is_requested(order));
            open
        }
        Err(fault) if requested.is_empty() => return Err(fault),
        // A fault of the store would say that nothing was sent.
        Err(fault) => {
            tracing::warn!(%fault, "after a cancel of all orders the remaining ones could not be read");
            let is_cancelled = |order: &Order| {
                cancelled
                    .iter()
                    .any(|report| report.order_id == order.order_id.as_str())
            };
            requested
                .into_iter()
                .filter(|(_, order)| !is_cancelled(order))
                .collect()
        }
    };
    let remaining = report_remaining(router, still_open).await;
    encode_reply(&CancelAllReply { cancelled, remaining })
}

/// Checks that a broker trades a symbol. A cancel of all orders in a misspelt symbol must not look as if it had worked.
///
/// # Errors
/// `unsupported_pair`.
fn check_is_traded(router: &Router, broker: &BrokerId, symbol: &Symbol) -> Result<(), Fault> {
    let mut instruments = router.instruments.for_broker(broker);
    if instruments.any(|instrument| instrument.symbol == *symbol) {
        return Ok(());
    }
    let rule = format!("is {symbol}, which {broker} does not trade, and no order in it is open");
    Err(Fault::for_field(FaultCode::UnsupportedPair, "symbol", rule))
}

/// Returns the current reports of orders that a cancel-all left open, at most [`MAX_CANCELS_PER_REQUEST`]; a receipt
/// for an order without a report.
async fn report_remaining(router: &Router, open: Vec<(OrderKey, Order)>) -> Vec<ExecutionReport> {
    let mut remaining = Vec::new();
    for (key, order) in open.into_iter().take(MAX_CANCELS_PER_REQUEST) {
        match current_report::current_report(router, &key).await {
            Ok(Some(outcome)) if outcome.report.status.is_terminal() => {}
            Ok(Some(outcome)) => remaining.push(outcome.report),
            _ => {
                let message = "the order is in flight";
                remaining.push(SubmissionOutcome::receipt_for_order(&order, ReasonCode::InFlight, message).report);
            }
        }
    }
    remaining
}

/// Reports whether a venue has the order, or may still receive it.
fn may_be_open(stage: RecordStage) -> bool {
    matches!(stage, RecordStage::Claimed | RecordStage::Sending | RecordStage::Open)
}

/// Returns the caller's orders that have not ended.
async fn list_open_orders(router: &Router, caller: &AccountCaller) -> Result<Vec<(OrderKey, Order)>, Fault> {
    let keys = router.store.list_open_orders(&caller.broker, &caller.account_id).await;
    let mut orders = Vec::new();
    for key in keys.map_err(store_unavailable)? {
        let record = router.store.read_order(&key).await.map_err(store_unavailable)?;
        if let Some(record) = record.filter(|record| may_be_open(record.known.stage)) {
            match order_from_document(&record.document) {
                Ok(order) => orders.push((key, order)),
                // One that cannot be read must not keep the others from being cancelled.
                Err(fault) => {
                    log_at_intervals!(error, order = key.name(), %fault, "an open order cannot be read and is not cancelled")
                }
            }
        }
    }
    Ok(orders)
}

/// Cancels an order by its key.
///
/// # Errors
/// As [`cancel_order`].
pub(in crate::worker) async fn cancel_by_key(
    router: &Router,
    caller: &AccountCaller,
    key: &OrderKey,
) -> Result<SubmissionOutcome, Fault> {
    let record = router.store.read_order(key).await.map_err(store_unavailable)?;
    let record = record.ok_or_else(|| Fault::new(FaultCode::UnknownOrder, "the order is gone"))?;
    let selector = OrderSelector::OrderId(record.known.order_id);
    cancel_selected_order(router, caller, key, &selector).await
}

async fn cancel_selected_order(
    router: &Router,
    caller: &AccountCaller,
    key: &OrderKey,
    selector: &OrderSelector,
) -> Result<SubmissionOutcome, Fault> {
    let record = wait_until_sent(router, caller, key, selector).await?;
    let order = match record.known.stage {
        RecordStage::Ended | RecordStage::Denied => return Err(order_closed_fault(selector)),
        RecordStage::Claimed
        | RecordStage::Sending
        | RecordStage::Open
        | RecordStage::Releasing
        | RecordStage::Released => read_unreported_order(&record, selector)?,
    };
    if order.broker != caller.broker {
        return Err(unknown_order_fault(selector));
    }
    if record.known.stage.is_in_flight() {
        return Ok(SubmissionOutcome::receipt_for_order(
            &order,
            ReasonCode::InFlight,
            "the order is still being sent; cancel it again",
        ));
    }
    let broker = router
        .brokers
        .get(&order.broker)
        .ok_or_else(|| unknown_order_fault(selector))?;
    match broker.cancel(order.clone()).await {
        CancelOutcome::Booked(booked) => append::journal_and_build_outcome(router, &booked).await,
        CancelOutcome::Reported(report) => settle_cancel_report(router, &order, report).await,
        CancelOutcome::AlreadyEnded(_) => Err(order_closed_fault(selector)),
        CancelOutcome::NotSent(NotSentReason::QueueFull) => Err(Fault::new(
            FaultCode::QueueFull,
            "too many cancels are waiting; this one was not sent",
        )),
        CancelOutcome::NotSent(reason) => Err(Fault::new(
            FaultCode::BrokerUnavailable,
            format!("the cancel was not sent: {reason:?}"),
        )),
        CancelOutcome::OutcomeUnknown(reason) => {
            let message = format!("the venue has not reported whether the order is cancelled: {reason}");
            Ok(SubmissionOutcome::receipt_for_order(
                &order,
                ReasonCode::OutcomeUnknown,
                &message,
            ))
        }
    }
}

/// Settles a venue's reply to a cancel, journals the result and returns it.
async fn settle_cancel_report(router: &Router, order: &Order, report: VenueReport) -> Result<SubmissionOutcome, Fault> {
    let settled = settlement::settle_venue_report(&router.settler, order, report, Metadata::new());
    match settled.await {
        Ok(booked) => append::journal_and_build_outcome(router, &booked).await,
        Err(error) => {
            let message = format!("the venue has replied, and its report could not be settled: {error}");
            Ok(SubmissionOutcome::receipt_for_order(
                order,
                ReasonCode::OutcomeUnknown,
                &message,
            ))
        }
    }
}

/// Waits until an order is no longer in flight, at most until the caller's deadline. Returns the record either way.
async fn wait_until_sent(
    router: &Router,
    caller: &AccountCaller,
    key: &OrderKey,
    selector: &OrderSelector,
) -> Result<StoredOrder, Fault> {
    let end = caller.deadline.min(Timestamp::now().saturating_add(MAX_IN_FLIGHT_WAIT));
    loop {
        let record = caller.load_record(router, key, selector).await?;
        if !record.known.stage.is_in_flight() || Timestamp::now() >= end {
            return Ok(record);
        }
        tokio::time::sleep(IN_FLIGHT_POLL_INTERVAL).await;
    }
}

fn order_closed_fault(selector: &OrderSelector) -> Fault {
    Fault::new(
        FaultCode::OrderClosed,
        format!("the order with the {selector} has ended; there is nothing left to cancel"),
    )
}
