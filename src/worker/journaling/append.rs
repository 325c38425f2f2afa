//! From a settled report to its outcome: the event is appended, acknowledged, returned, and then removed from the
//! outbox.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::brokers::adapter::BookedEffect;
use crate::bus::headers::TRACEPARENT;
use crate::bus::journal::{AppendError, JournalEntry};
use crate::bus::subjects;
use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::domain::venue_report::OutboxEntry;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::store::StoreError;
use crate::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use crate::store::rebuild::orders::OrderReplay;
use crate::telemetry::PipelineStage;
use crate::wire::journal_report::{decode_journal_report, read_settlement_header};
use crate::wire::report::ExecutionReport;
use crate::wire::settlement::InvalidSettledQuantity;
use crate::worker::control::{fee_locks, loss_locks};
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::replay;
use crate::worker::rebuild::replay_target::ReplayTarget;
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::outcome::SubmissionOutcome;
use crate::worker::trace;

/// How often an event is marked as journaled while the store is being rebuilt.
const MAX_MARK_ATTEMPTS: usize = 60;
/// The pause between two attempts.
const MARK_RETRY_DELAY: Duration = Duration::from_millis(250);

/// Journals a settled report and returns it; a receipt with `not_journaled` if the journal does not confirm it.
///
/// # Errors
/// None: a settled report always has an outcome. The type is that of the pipeline's other steps.
pub async fn journal_and_build_outcome(router: &Router, booked: &BookedEffect) -> Result<SubmissionOutcome, Fault> {
    let order = &booked.order;
    match append_booked_effect(router, booked).await {
        Ok(sequence) => {
            stop_point::reach("after_journal");
            Ok(SubmissionOutcome::journaled(ExecutionReport::of(order), sequence))
        }
        Err(error) => {
            log_at_intervals!(
                warn,
                order_id = %order.order_id, %error,
                "a settled report is not journaled yet; it waits in the outbox"
            );
            let message = "the order is settled, and its report is not journaled yet; read it again";
            Ok(SubmissionOutcome::receipt_for_order(
                order,
                ReasonCode::NotJournaled,
                message,
            ))
        }
    }
}

/// Appends the events of a booked effect, as [`append_and_mark`] does, and publishes its anomalies as signals.
///
/// # Errors
/// As [`append_and_mark`].
pub async fn append_booked_effect(router: &Router, booked: &BookedEffect) -> Result<u64, AppendError> {
    router.signals.publish_anomalies(&booked.order, &booked.notices);
    if let Err(fault) = fee_locks::lock_booked_fees(router, &booked.order, &booked.notices).await {
        tracing::warn!(order_id = %booked.order.order_id, %fault, "a fee has no price; its account is closed, and the lock is set with the next look at it");
    }
    if !booked.breaches.is_empty()
        && let Err(fault) = loss_locks::lock_filled_breaches(router, &booked.breaches).await
    {
        tracing::warn!(order_id = %booked.order.order_id, %fault, "a loss has reached its limit; its lock is set with the next order");
    }
    append_and_mark(router, &booked.order, &booked.pending_events).await
}

/// Appends an order's events and returns the sequence of the last, which is the caller's own: it carries the caller's
/// `traceparent`. A deferred task removes the events from the outbox, so that the caller does not wait for it.
///
/// # Errors
/// If the journal does not confirm one of them; it remains in the outbox.
pub async fn append_and_mark(router: &Router, order: &Order, pending: &[OutboxEntry]) -> Result<u64, AppendError> {
    stop_point::reach("before_journal");
    router.telemetry.count_report(order);
    let marks = append_events(router, order, pending, trace::current_traceparent()).await?;
    let last = marks.last().map(|mark| mark.sequence);
    for (mark, event) in marks.into_iter().zip(pending) {
        let (marker, event) = (router.clone(), event.clone());
        router.deferred_tasks.spawn(async move {
            if let Err(error) = mark_or_replay(&marker, mark, &event).await {
                tracing::debug!(%error, "a journaled event remains in the outbox for now");
            }
        });
    }
    last.ok_or_else(|| AppendError::Refused("the order has no event to append".to_owned()))
}

/// Appends an order's events in order, each acknowledged before the next, and returns the marks to set in the store.
/// The last event carries `traceparent`; the ones before it are other calls'.
///
/// # Errors
/// If the journal does not confirm one of them.
pub async fn append_events(
    router: &Router,
    order: &Order,
    pending: &[OutboxEntry],
    traceparent: Option<String>,
) -> Result<Vec<MarkJournaledRequest>, AppendError> {
    let subject = subjects::report(&order.broker, &order.account_id);
    let settlement_ids: Vec<Option<Uuid>> = pending
        .iter()
        .map(|event| event.settlement_id.or_else(|| read_settlement_header(&event.body).id))
        .collect();
    let entry = |(event, settlement_id): (&OutboxEntry, &Option<Uuid>)| JournalEntry {
        subject: subject.clone(),
        message_id: event_message_id(order, event.version, *settlement_id),
        body: event.body.clone(),
        headers: Vec::new(),
    };
    let mut entries: Vec<JournalEntry> = pending.iter().zip(&settlement_ids).map(entry).collect();
    if let (Some(last), Some(traceparent)) = (entries.last_mut(), traceparent) {
        last.headers.push((TRACEPARENT.to_owned(), traceparent));
    }
    let started_at = Instant::now();
    let appended = router.journal_writer.append_in_order(entries).await;
    router
        .telemetry
        .observe_stage(PipelineStage::Journal, started_at.elapsed());
    if matches!(appended, Err(AppendError::Behind { .. })) {
        // No more orders are accepted until an operator has restored the journal.
        router.store.leave_epoch();
    }
    let sequences = appended?;
    let key = order.key();
    let mark = |((event, settlement_id), sequence): ((&OutboxEntry, Option<Uuid>), u64)| MarkJournaledRequest {
        key,
        order_id: order.order_id.clone(),
        version: event.version,
        settlement_id,
        sequence,
    };
    Ok(pending.iter().zip(settlement_ids).zip(sequences).map(mark).collect())
}

/// Returns the id by which JetStream detects a repeated append. It distinguishes a repetition from another effect of
/// the same version.
fn event_message_id(order: &Order, version: u32, settlement_id: Option<Uuid>) -> String {
    match settlement_id {
        Some(id) => format!("{}:{version}:{}", order.order_id, id.simple()),
        None => format!("{}:{version}", order.order_id),
    }
}

/// Marks an event as journaled. An event that the store has lost, restored from a copy older than the settlement, is
/// replayed into it: it is on the journal, so it happened.
///
/// # Errors
/// If the store does not reply within the time that a change of epoch takes.
pub async fn mark_or_replay(
    router: &Router,
    mark: MarkJournaledRequest,
    event: &OutboxEntry,
) -> Result<(), StoreError> {
    let sequence = mark.sequence;
    for _ in 0..MAX_MARK_ATTEMPTS {
        match router.store.mark_journaled(mark.clone()).await {
            Ok(MarkJournaledOutcome::Marked) => return Ok(()),
            Ok(MarkJournaledOutcome::NeedsReplay) => break,
            // The store is being rebuilt: the next attempt shows whether the rebuild included this event.
            Err(StoreError::Stale(_)) => tokio::time::sleep(MARK_RETRY_DELAY).await,
            Err(error) => return Err(error),
        }
    }
    let (order, settlement) =
        decode_journal_report(&event.body).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let replay = OrderReplay {
        order,
        deltas: settlement
            .deltas
            .try_into()
            .map_err(|error: InvalidSettledQuantity| StoreError::Corrupt(error.to_string()))?,
        booked_on: settlement.booked_on,
        earlier_days: Vec::new(),
        sequence,
        document: event.body.clone(),
    };
    let replayed = replay::replay_reports(router, ReplayTarget::InUse, &[replay]).await;
    let replayed = replayed.map_err(|error| match error {
        StoreRebuildError::Store(error) => error,
        other => StoreError::NotExecuted(other.to_string()),
    })?;
    if replayed > 0 {
        tracing::warn!(order_id = %mark.order_id, version = mark.version, "replayed an event that the store had lost");
    }
    Ok(())
}
