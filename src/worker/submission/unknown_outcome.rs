//! Submissions whose broker cannot report what became of the order.

use crate::brokers::adapter::Placement;
use crate::domain::intent::Intent;
use crate::domain::reason::ReasonCode;
use crate::fault::Fault;
use crate::store::orders::record::RecordStage;
use crate::worker::journaling::journaled_outcome;
use crate::worker::journaling::settlement;
use crate::worker::router::Router;
use crate::worker::submission::announced;
use crate::worker::submission::idempotent_replay;
use crate::worker::submission::outcome::SubmissionOutcome;

/// Returns the outcome of an order that its broker reported as unknown. An order at a venue is settled as `unknown`,
/// and its venue is asked until it reports the outcome; a paper order is read from the store.
///
/// # Errors
/// As [`read_outcome`].
pub(in crate::worker) async fn settle_or_read(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    reason: &str,
) -> Result<SubmissionOutcome, Fault> {
    if !router.places_at_venue(&placement.order) {
        return read_outcome(router, intent, placement, reason).await;
    }
    let settled = settlement::settle_with_lease(
        &router.settler,
        &placement.order,
        &placement.lease,
        announced::unknown_outcome_report(router, reason),
        placement.figures.clone(),
    );
    match settled.await {
        Ok(booked) => journaled_outcome::journal_and_build_outcome(router, &booked).await,
        // Another worker has found the order in the meantime, or the store is away: the order remains `sending`.
        Err(_) => read_outcome(router, intent, placement, reason).await,
    }
}

/// Returns what the store knows of an order; a receipt with `reason` if it knows no more than this worker.
///
/// # Errors
/// The problem the order was denied with, or a journal that cannot be read.
pub(in crate::worker) async fn read_outcome(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    reason: &str,
) -> Result<SubmissionOutcome, Fault> {
    let order = &placement.order;
    if let Ok(Some(known)) = idempotent_replay::find_known_order(router, &order.key()).await
        && !known.stage.is_in_flight()
        && known.stage != RecordStage::Released
        && let Some(outcome) = idempotent_replay::replay_outcome(router, intent, known, placement.deadline).await?
    {
        let is_replay = outcome.report.order_id != order.order_id.as_str();
        return Ok(SubmissionOutcome { is_replay, ..outcome });
    }
    Ok(SubmissionOutcome::receipt_for_intent(
        intent,
        order,
        ReasonCode::OutcomeUnknown,
        reason,
    ))
}
