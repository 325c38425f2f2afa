//! Replaces at a venue outside the store.
//!
//! The version with the pending replace is on the journal before the venue's one request leaves, and so is the version that
//! announces the placement of a leg after its cancel: a worker that finds either later asks the venue about both legs, and
//! sends nothing. What no one reports is unknown, and the inquiries settle it.

use std::time::Duration;

use crate::brokers::adapter::{BookedEffect, Effects, ReplaceCallOutcome};
use crate::brokers::handle::BrokerHandle;
use crate::brokers::port::BookError;
use crate::domain::metadata::Metadata;
use crate::domain::order::{Order, OrderUpdate};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::{OrderReplace, ReplaceMethod, ReplaceOutcome, ReplaceTerms};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{DueAction, DueTask, VenueReport};
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::worker::journaling::order_document::load_stored_order;
use crate::worker::journaling::settlement::booking_error;
use crate::worker::journaling::{append, current_report, settlement};
use crate::worker::orders::replace_terms::{ReplaceAttempt, WantedTerms, booking_fault, settle_current};
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::outcome::SubmissionOutcome;

/// The most requests of one replace: the cancel of a leg, and the placement of the next.
const MAX_STEPS: usize = 2;
/// How much longer than a call to the broker the venue is not asked about a replace: its sender may still settle it.
const INQUIRY_MARGIN: Duration = Duration::from_secs(1);
/// How long after the cancel of a leg the placement of the next may be announced.
const PLACEMENT_WINDOW: Duration = Duration::from_secs(5);

/// Returns how a venue carries out terms that are no mere reduction.
pub(super) fn method_for(order: &Order, effects: Effects) -> ReplaceMethod {
    match effects {
        // A leg that has filled in part can fill further before its cancel: the next one is placed for what is left then.
        Effects::AtVenue if order.is_leg_filled() => ReplaceMethod::CancelFirst,
        _ => ReplaceMethod::CancelReplace,
    }
}

/// Returns the order with a pending replace.
///
/// # Errors
/// When it cannot be counted exactly.
pub(super) fn pending_update(router: &Router, order: &Order, terms: &ReplaceTerms) -> Result<OrderUpdate, BookError> {
    let due = inquiry_after(router, terms.requested_at);
    let update = order.begin_replace(terms, Some(due), Timestamp::now());
    update.map_err(booking_error)
}

/// Returns when the venue is asked about a request of this moment, unless its sender settles it before.
fn inquiry_after(router: &Router, requested_at: Timestamp) -> DueTask {
    DueTask {
        at: requested_at.saturating_add(router.broker_call_timeout + INQUIRY_MARGIN),
        action: DueAction::Inquire,
    }
}

/// Reduces the quantity of an order at its price: like a cancel of a part, it passes every rule.
///
/// # Errors
/// When nothing was sent.
pub(super) async fn reduce(router: &Router, order: &Order, wanted: &WantedTerms) -> Result<ReplaceAttempt, Fault> {
    let update = pending_update(router, order, &wanted.to_reduction()).map_err(|error| booking_fault(&error))?;
    match settle_current(router, update).await? {
        Some(booked) => journal_and_send(router, &booked).await,
        None => Ok(ReplaceAttempt::Outdated),
    }
}

/// Journals a pending replace, carries it out at the venue, and returns the order's report.
///
/// # Errors
/// When nothing was sent: the order keeps its terms.
pub(super) async fn journal_and_send(router: &Router, pending: &BookedEffect) -> Result<ReplaceAttempt, Fault> {
    let order = &pending.order;
    if let Err(error) = append::append_booked_effect(router, pending).await {
        let text = format!("the replace is not on the journal, and was not sent: {error}");
        settle(router, order, order.report_of_replace(not_replaced(&text))).await;
        return Err(Fault::new(FaultCode::PersistenceFailed, text));
    }
    stop_point::reach("replace_journaled");
    let Some(broker) = router.brokers.of_order(order) else {
        let text = "this worker has no venue for the order; the replace was not sent";
        settle(router, order, order.report_of_replace(not_replaced(text))).await;
        return Err(Fault::new(FaultCode::BrokerUnavailable, text));
    };
    carry_out(router, broker, order).await;
    let outcome = match current_report::current_report(router, &order.key()).await {
        Ok(Some(outcome)) => outcome,
        // It may be done: the caller asks again under the same id.
        Ok(None) | Err(_) => {
            let message = "the replace may be done, and its report cannot be read; send it again under the same id";
            SubmissionOutcome::receipt_for_order(order, ReasonCode::OutcomeUnknown, message)
        }
    };
    Ok(ReplaceAttempt::Completed(outcome))
}

/// Takes the steps of a replace, and settles what the venue reports of each.
async fn carry_out(router: &Router, broker: &BrokerHandle, pending: &Order) {
    let mut order = pending.clone();
    for _ in 0..MAX_STEPS {
        let outcome = broker.replace(order.clone()).await;
        if !matches!(outcome, ReplaceCallOutcome::NotSent(_)) {
            stop_point::reach(if is_to_be_cancelled(&order) {
                "replace_cancel_sent"
            } else {
                "replace_sent"
            });
        }
        match outcome {
            ReplaceCallOutcome::Reported(reports) => {
                for report in reports {
                    match settle(router, &order, report).await {
                        Some(settled) => order = settled,
                        None => return,
                    }
                }
            }
            ReplaceCallOutcome::NotSent(reason) => {
                let text = format!("the replace was not sent: {reason:?}");
                settle(router, &order, order.report_of_replace(not_replaced(&text))).await;
                return;
            }
            ReplaceCallOutcome::OutcomeUnknown(reason) => {
                let reason = Reason::new(ReasonCode::OutcomeUnknown, reason);
                let due = DueTask {
                    at: Timestamp::now().saturating_add(router.inquiry_settings.first_retry_delay()),
                    action: DueAction::Inquire,
                };
                let report = VenueReport {
                    due: Some(due),
                    ..order.report_of_replace(ReplaceOutcome::Unknown(reason))
                };
                settle(router, &order, report).await;
                return;
            }
        }
        match order.open_replace().filter(|replace| is_to_be_placed(replace)) {
            Some(_) => match announce_placement(router, &order).await {
                Some(announced) => order = announced,
                None => return,
            },
            None => return,
        }
    }
}

/// Reports whether the next step of an order's replace is the cancel of its earlier leg by itself.
fn is_to_be_cancelled(order: &Order) -> bool {
    let replace = order.open_replace();
    replace.is_some_and(|replace| replace.method == ReplaceMethod::CancelFirst && !replace.is_placing)
}

fn is_to_be_placed(replace: &OrderReplace) -> bool {
    replace.method == ReplaceMethod::CancelFirst && replace.ended_leg.is_some() && !replace.is_placing
}

/// Announces the placement of the new leg: at this version of the order and no other, and journaled before it is sent.
/// Returns `None` where it must not be sent.
async fn announce_placement(router: &Router, order: &Order) -> Option<Order> {
    let requested_at = Timestamp::now();
    let report = VenueReport {
        due: Some(inquiry_after(router, requested_at)),
        ..order.report_of_replace(ReplaceOutcome::Placing(requested_at))
    };
    let update = router.settler.apply_report(order, &report).ok()?;
    let deadline = requested_at.saturating_add(PLACEMENT_WINDOW);
    let booked = match settlement::settle_update(&router.settler, update, Some(deadline)).await {
        Ok(booked) => booked,
        // The earlier leg is cancelled, and nothing more is sent.
        Err(error @ (BookError::Halted | BookError::DeadlinePassed)) => {
            let text = format!("the new terms were not sent: {error}");
            settle(router, order, order.report_of_replace(not_replaced(&text))).await;
            return None;
        }
        Err(error) => {
            tracing::warn!(order_id = %order.order_id, %error, "the new leg of a replace is not placed");
            return None;
        }
    };
    stop_point::reach("placement_announced");
    match append::append_booked_effect(router, &booked).await {
        Ok(_) => {
            stop_point::reach("placement_journaled");
            Some(booked.order)
        }
        Err(error) => {
            let text = format!("the new leg is not on the journal, and was not sent: {error}");
            settle(
                router,
                &booked.order,
                booked.order.report_of_replace(not_replaced(&text)),
            )
            .await;
            None
        }
    }
}

/// Settles and journals what is known of a replace, and returns the order after it; `None` where that could not be settled
/// and the inquiries have to.
async fn settle(router: &Router, order: &Order, report: VenueReport) -> Option<Order> {
    match settlement::settle_venue_report(&router.settler, order, report, Metadata::new()).await {
        Ok(booked) => {
            if let Err(error) = append::append_booked_effect(router, &booked).await {
                log_at_intervals!(
                    warn,
                    order_id = %order.order_id, %error,
                    "the outcome of a replace is settled and not journaled yet; it waits in the outbox"
                );
            }
            Some(booked.order)
        }
        // The venue's stream was first: the next step follows from the order as it is now.
        Err(BookError::NothingNew) => reload(router, order).await,
        Err(error) => {
            log_at_intervals!(
                warn,
                order_id = %order.order_id, %error,
                "the outcome of a replace could not be settled; the venue is asked"
            );
            None
        }
    }
}

async fn reload(router: &Router, order: &Order) -> Option<Order> {
    let record = router.store.read_order(&order.key()).await.ok().flatten()?;
    load_stored_order(&router.journal_reader, &record).await.ok()
}

fn not_replaced(text: &str) -> ReplaceOutcome {
    ReplaceOutcome::NotReplaced(Reason::new(ReasonCode::NotReplaced, text))
}
