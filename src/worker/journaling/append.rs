//! The events of a booked effect: appended to the journal, acknowledged, and then removed from the outbox.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::brokers::adapter::BookedEffect;
use crate::bus::journal::AppendError;
use crate::domain::order::Order;
use crate::domain::venue_report::OutboxEntry;
use crate::store::StoreError;
use crate::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use crate::telemetry::PipelineStage;
use crate::worker::control::{fee_locks, loss_locks};
use crate::worker::journaling::report_entry;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::replay;
use crate::worker::rebuild::replay_target::ReplayTarget;
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::trace;

/// The longest time from before an effect is booked to its journal entry after which a reply follows at once. A rebuild reads
/// the journal to its end no sooner than this after it has begun: an entry within this time is before that end, and nothing
/// takes its order's place. Later, the order can have been lost and its id claimed again: the store is asked first.
pub const CONFIRM_AFTER: Duration = Duration::from_millis(250);
/// How long a reply waits for the store's word.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an event is marked as journaled while the store is being rebuilt.
const MAX_MARK_ATTEMPTS: usize = 60;
/// The pause between two attempts.
const MARK_RETRY_DELAY: Duration = Duration::from_millis(250);

/// Appends the events of a booked effect, as [`append_and_mark`] does, and publishes its anomalies as signals.
///
/// # Errors
/// As [`append_and_mark`].
pub async fn append_booked_effect(router: &Router, booked: &BookedEffect) -> Result<AppendedEvents, AppendError> {
    router.signals.publish_anomalies(&booked.order, &booked.notices);
    if let Err(fault) = fee_locks::lock_booked_fees(router, &booked.order, &booked.notices).await {
        tracing::warn!(order_id = %booked.order.order_id, %fault, "a fee has no price; its account is closed, and the lock is set with the next look at it");
    }
    if !booked.breaches.is_empty()
        && let Err(fault) = loss_locks::lock_filled_breaches(router, &booked.breaches).await
    {
        tracing::warn!(order_id = %booked.order.order_id, %fault, "a loss has reached its limit; its lock is set with the next order");
    }
    append_and_mark(router, &booked.order, &booked.pending_events, booked.prepared_at).await
}

/// Events on the journal.
#[derive(Debug)]
pub struct AppendedEvents {
    /// The journal sequence of the last.
    pub sequence: u64,
    /// The store's word whether the last one counts; `None` where it does for certain.
    word: Option<oneshot::Receiver<bool>>,
}

impl AppendedEvents {
    /// Returns the sequence of the last event once it is known to count; `None` where the store does not say so in time:
    /// a rebuild may have put another one in its place.
    pub async fn into_confirmed(self) -> Option<u64> {
        let is_confirmed = match self.word {
            Some(word) => matches!(timeout(CONFIRM_TIMEOUT, word).await, Ok(Ok(true))),
            None => true,
        };
        is_confirmed.then_some(self.sequence)
    }
}

/// Appends an order's events, of which the last is the caller's own: it carries the caller's `traceparent`. A deferred task
/// removes the events from the outbox. A reply waits for it ([`AppendedEvents::into_confirmed`]) only where the last event,
/// prepared at `prepared_at`, is journaled later than [`CONFIRM_AFTER`].
///
/// # Errors
/// If the journal does not confirm one of them; it remains in the outbox.
pub async fn append_and_mark(
    router: &Router,
    order: &Order,
    pending: &[OutboxEntry],
    prepared_at: Instant,
) -> Result<AppendedEvents, AppendError> {
    stop_point::reach("before_journal");
    router.telemetry.count_report(order);
    let marks = append_events(router, order, pending, trace::current_traceparent()).await?;
    let last = marks.last().map(|mark| mark.sequence);
    let is_late = prepared_at.elapsed() > CONFIRM_AFTER;
    let mut word = None;
    for (mark, event) in marks.into_iter().zip(pending) {
        let (marker, event) = (router.clone(), event.clone());
        let (sender, receiver) = is_late.then(oneshot::channel).unzip();
        word = receiver;
        router.deferred_tasks.spawn(async move {
            let outcome = mark_or_replay(&marker, mark, &event).await;
            if let Err(error) = &outcome {
                tracing::debug!(%error, "a journaled event remains in the outbox for now");
            }
            if let Some(sender) = sender {
                // A caller that no longer waits has replied with a receipt.
                let _ = sender.send(matches!(outcome, Ok(MarkJournaledOutcome::Marked)));
            }
        });
    }
    let sequence = last.ok_or_else(|| AppendError::Refused("the order has no event to append".to_owned()))?;
    Ok(AppendedEvents { sequence, word })
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
    let entries = report_entry::journal_entries(order, pending, traceparent);
    let started_at = Instant::now();
    let appended = router.journal_writer.append_in_order(entries).await;
    trace::record_stage(&router.telemetry, PipelineStage::Journal, started_at.elapsed());
    if matches!(appended, Err(AppendError::Behind { .. })) {
        // No more orders are accepted until an operator has restored the journal.
        router.store.leave_epoch();
    }
    let sequences = appended?;
    let key = order.key();
    let mark = |((event, settlement_id), sequence): ((&OutboxEntry, Option<uuid::Uuid>), u64)| MarkJournaledRequest {
        key,
        order_id: order.order_id.clone(),
        version: event.version,
        settlement_id,
        sequence,
    };
    let settlement_ids = report_entry::settlement_ids(pending);
    Ok(pending.iter().zip(settlement_ids).zip(sequences).map(mark).collect())
}

/// Marks an event as journaled. An event that the store has lost, restored from a copy older than the settlement, is
/// replayed into it: it is on the journal, so it happened, unless another came before it. Returns which of both was done.
///
/// # Errors
/// If the store does not reply within the time that a change of epoch takes.
pub async fn mark_or_replay(
    router: &Router,
    mark: MarkJournaledRequest,
    event: &OutboxEntry,
) -> Result<MarkJournaledOutcome, StoreError> {
    let sequence = mark.sequence;
    for _ in 0..MAX_MARK_ATTEMPTS {
        match router.store.mark_journaled(mark.clone()).await {
            Ok(MarkJournaledOutcome::Marked) => return Ok(MarkJournaledOutcome::Marked),
            Ok(MarkJournaledOutcome::NeedsReplay) => break,
            // The store is being rebuilt: the next attempt shows whether the rebuild included this event.
            Err(StoreError::Stale(_)) => tokio::time::sleep(MARK_RETRY_DELAY).await,
            Err(error) => return Err(error),
        }
    }
    let (replay, _) = replay::report_from_body(&event.body, sequence).map_err(StoreError::Corrupt)?;
    let replayed = replay::replay_reports(router, ReplayTarget::InUse, &[replay]).await;
    let replayed = replayed.map_err(|error| match error {
        StoreRebuildError::Store(error) => error,
        other => StoreError::NotExecuted(other.to_string()),
    })?;
    if replayed > 0 {
        tracing::warn!(order_id = %mark.order_id, version = mark.version, "replayed an event that the store had lost");
    }
    Ok(MarkJournaledOutcome::NeedsReplay)
}
