//! Submissions whose broker reports that nothing was sent: their claims and reservations are released.

use crate::brokers::adapter::{NotSentReason, Placement};
use crate::domain::intent::Intent;
use crate::domain::reason::ReasonCode;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::store::orders::submission::WithdrawalStage;
use crate::worker::faults::{deadline_passed, store_unavailable};
use crate::worker::router::Router;
use crate::worker::submission::announced;
use crate::worker::submission::outcome::SubmissionOutcome;
use crate::worker::submission::unknown_outcome;

/// The detail of an order that was claimed when trading was halted.
const HALTED_BEFORE_SENDING: &str = "trading was halted before the order was sent; nothing was sent";

/// Releases the claim and the reservations of an order that was not sent. A release that cannot be confirmed is
/// returned as a receipt with `outcome_unknown`, never as not sent.
///
/// # Errors
/// The fault of `reason`, once the release is confirmed.
pub(in crate::worker) async fn release_unsent(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    reason: NotSentReason,
) -> Result<SubmissionOutcome, Fault> {
    let is_before_announcement = reason.is_before_announcement();
    let fault = not_sent_fault(intent, placement, reason);
    if !is_before_announcement && router.places_at_venue(&placement.order) {
        return release_announced_order(router, intent, placement, fault).await;
    }
    match router.store.release_claim(&placement.order, &placement.lease).await {
        Ok(true) => Err(fault),
        Ok(false) => confirm_unsent(router, intent, placement, fault).await,
        Err(error) => {
            log_at_intervals!(
                warn,
                order_id = %placement.order.order_id, %error,
                "a claim could not be released; recovery releases it when its lease expires"
            );
            let message = store_unavailable(error).detail;
            Ok(SubmissionOutcome::receipt_for_intent(
                intent,
                &placement.order,
                ReasonCode::OutcomeUnknown,
                &message,
            ))
        }
    }
}

/// Returns the fault of an order whose claim is not this worker's any more, if nothing of the order is left: then its claim
/// was released in the meantime. What is left of it may have been sent by another.
async fn confirm_unsent(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    fault: Fault,
) -> Result<SubmissionOutcome, Fault> {
    match router.store.read_order(&placement.order.key()).await {
        Ok(None) => Err(fault),
        Ok(Some(record)) if record.known.order_id != placement.order.order_id => Err(fault),
        _ => {
            let message = "the order was not sent by this worker, and another has taken it over";
            unknown_outcome::read_outcome(router, intent, placement, message).await
        }
    }
}

/// Returns the fault of an order that was not sent because trading was halted.
pub(in crate::worker) fn trading_halted() -> Fault {
    Fault::new(FaultCode::TradingHalted, HALTED_BEFORE_SENDING)
}

fn not_sent_fault(intent: &Intent, placement: &Placement, reason: NotSentReason) -> Fault {
    match reason {
        NotSentReason::DeadlinePassed => deadline_passed(placement.deadline),
        NotSentReason::Halted => trading_halted(),
        NotSentReason::LeaseLost => Fault::new(
            FaultCode::StoreUnavailable,
            "the order waited longer than its lease and was not sent; send it again",
        ),
        NotSentReason::NotAccepted(reason) | NotSentReason::Unavailable(reason) => Fault::new(
            FaultCode::BrokerUnavailable,
            format!("the order was not sent: {reason}"),
        ),
        NotSentReason::QueueFull => Fault::new(
            FaultCode::QueueFull,
            format!("{} has too many orders waiting; this one was not sent", intent.broker),
        ),
    }
}

/// Releases an announced order and returns the fault once the release is on the journal. If another worker has taken
/// over the order in the meantime, this worker's report that it was not sent no longer counts.
async fn release_announced_order(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    fault: Fault,
) -> Result<SubmissionOutcome, Fault> {
    let (order, lease) = (&placement.order, &placement.lease);
    let reason = match announced::release_announced(router, order, lease, WithdrawalStage::Sending).await {
        Ok(true) => return Err(fault),
        Ok(false) => "another worker took over the order before it was released".to_owned(),
        Err(error) => format!(
            "the order was not sent, and its release is not journaled yet: {}",
            error.detail
        ),
    };
    tracing::warn!(
        order_id = %order.order_id, reason,
        "the outcome of an order that was not sent is reported as unknown"
    );
    unknown_outcome::read_outcome(router, intent, placement, &reason).await
}
