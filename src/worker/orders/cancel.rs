//! Cancels of one order.

use std::time::Duration;

use crate::brokers::adapter::{CancelOutcome, NotSentReason};
use crate::brokers::port::BookError;
use crate::bus::request::{BusReply, BusRequest};
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::OrderStatus;
use crate::domain::reason::ReasonCode;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;
use crate::fault::{Fault, FaultCode};
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::store::sums::cancel_rate::ExceededRate;
use crate::wire::order_reference::{OrderSelector, decode_order_selector};
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::journaling::{current_report, journaled_outcome, settlement};
use crate::worker::orders::account_caller::{AccountCaller, read_unreported_order, unknown_order_fault};
use crate::worker::router::Router;
use crate::worker::submission::idempotent_replay::{IN_FLIGHT_POLL_INTERVAL, MAX_IN_FLIGHT_WAIT};
use crate::worker::submission::outcome::SubmissionOutcome;

/// The longest that a cancel waits for a replace of its order: after it, both legs are cancelled.
const MAX_REPLACE_WAIT: Duration = Duration::from_secs(2);

/// Counts a cancel against the rate limits of cancels, the only rule that stops a cancel. Orders have rate limits of
/// their own.
///
/// # Errors
/// `rate_limited` beyond a limit.
pub(super) async fn check_cancel_rate(router: &Router, caller: &AccountCaller) -> Result<(), Fault> {
    let limits = router.limits().risk.cancel_rates;
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

async fn cancel_selected_order(
    router: &Router,
    caller: &AccountCaller,
    key: &OrderKey,
    selector: &OrderSelector,
) -> Result<SubmissionOutcome, Fault> {
    let record = wait_until_settled(router, caller, key, selector).await?;
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
    cancel_at_broker(router, &order, selector).await
}

/// Cancels an order that its venue has, and returns its report.
///
/// # Errors
/// `order_closed` for an order that has ended in any way; a cancel that was certainly not sent.
pub(super) async fn cancel_at_broker(
    router: &Router,
    order: &Order,
    selector: &OrderSelector,
) -> Result<SubmissionOutcome, Fault> {
    let broker = router.brokers.of_order(order).ok_or_else(|| {
        let mode = order.mode;
        let detail = format!(
            "this worker has no venue for the {mode} orders of {}; the cancel was not sent",
            order.broker
        );
        Fault::new(FaultCode::BrokerUnavailable, detail)
    })?;
    match broker.cancel(order.clone()).await {
        CancelOutcome::Booked(booked) => journaled_outcome::journal_and_build_outcome(router, &booked).await,
        CancelOutcome::Reported(report) => settle_cancel_report(router, order, report, selector).await,
        CancelOutcome::AlreadyEnded(_) if has_another_leg(router, order).await => {
            let message = "the venue has ended the terms that were to be cancelled, and the order has others meanwhile; send \
                           the cancel again";
            Ok(unknown_outcome(order, message))
        }
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
            Ok(unknown_outcome(order, &message))
        }
    }
}

/// Reports whether the order is open under other terms than those it was read with, or may be: a replace came in between, and
/// the end of the earlier leg is not the order's.
async fn has_another_leg(router: &Router, order: &Order) -> bool {
    let Ok(record) = router.store.read_order(&order.key()).await else {
        return true;
    };
    let current = record.as_ref().and_then(open_order);
    current.is_some_and(|current| current.open_replace().is_some() || current.working_leg() != order.working_leg())
}

/// Returns the order of a record that is open; `None` of any other, and of one that cannot be read.
fn open_order(record: &StoredOrder) -> Option<Order> {
    let is_open = record.known.stage == RecordStage::Open;
    is_open.then(|| order_from_document(&record.document).ok()).flatten()
}

fn unknown_outcome(order: &Order, message: &str) -> SubmissionOutcome {
    SubmissionOutcome::receipt_for_order(order, ReasonCode::OutcomeUnknown, message)
}

/// Settles a venue's reply to a cancel, journals the result and returns it.
///
/// # Errors
/// `order_closed` where the order had ended in another way before the reply.
async fn settle_cancel_report(
    router: &Router,
    order: &Order,
    report: VenueReport,
    selector: &OrderSelector,
) -> Result<SubmissionOutcome, Fault> {
    let settled = settlement::settle_venue_report(&router.settler, order, report, Metadata::new());
    match settled.await {
        Ok(booked) => journaled_outcome::journal_and_build_outcome(router, &booked).await,
        // What the venue reported is settled already: the order's own report says what it is.
        Err(error @ (BookError::NothingNew | BookError::Ended)) => {
            match current_report::current_report(router, &order.key()).await {
                Ok(Some(outcome)) => settled_before(outcome, selector),
                Ok(None) => Err(unknown_order_fault(selector)),
                Err(fault) => {
                    let message =
                        format!("the venue has replied ({error}), and the order's report cannot be read: {fault}");
                    Ok(unknown_outcome(order, &message))
                }
            }
        }
        Err(error) => {
            let message = format!("the venue has replied, and its report could not be settled: {error}");
            Ok(unknown_outcome(order, &message))
        }
    }
}

/// Returns the reply for a cancel whose report was settled before: the order's report where it is cancelled or still open.
///
/// # Errors
/// `order_closed` where it has ended in another way.
fn settled_before(outcome: SubmissionOutcome, selector: &OrderSelector) -> Result<SubmissionOutcome, Fault> {
    match outcome.report.status {
        status if status.is_terminal() && status != OrderStatus::Cancelled => Err(order_closed_fault(selector)),
        _ => Ok(outcome),
    }
}

/// As [`wait_until_sent`], and until no replace of the order is open: the venue then has one leg to cancel.
async fn wait_until_settled(
    router: &Router,
    caller: &AccountCaller,
    key: &OrderKey,
    selector: &OrderSelector,
) -> Result<StoredOrder, Fault> {
    let end = Timestamp::now().saturating_add(MAX_REPLACE_WAIT).min(caller.deadline);
    loop {
        let record = wait_until_sent(router, caller, key, selector).await?;
        let is_open = open_order(&record).is_some_and(|order| order.open_replace().is_some());
        if !is_open || Timestamp::now() >= end {
            return Ok(record);
        }
        tokio::time::sleep(IN_FLIGHT_POLL_INTERVAL).await;
    }
}

/// Waits until an order is no longer in flight, at most until the caller's deadline. Returns the record either way.
pub(super) async fn wait_until_sent(
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

/// Returns the fault of an order that has ended.
pub(super) fn order_closed_fault(selector: &OrderSelector) -> Fault {
    Fault::new(
        FaultCode::OrderClosed,
        format!("the order with the {selector} has ended; nothing of it is open"),
    )
}
