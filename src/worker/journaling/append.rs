//! From a settled event to its answer: appended to the journal, acknowledged, then told, then out of the outbox.

use std::time::Duration;

use tokio::time::Instant;

use crate::brokers::adapter::BookedEffect;
use crate::bus::journal::{AppendError, JournalEntry};
use crate::bus::request::BusReply;
use crate::bus::subjects;
use crate::domain::intent::Intent;
use crate::domain::order::Order;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::venue_report::OutboxEntry;
use crate::fault::Fault;
use crate::store::StoreError;
use crate::store::keys::OrderKey;
use crate::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use crate::store::rebuild::orders::OrderReplay;
use crate::telemetry::PipelineStage;
use crate::wire::journal_report::{decode_journal_report, read_settlement_header};
use crate::wire::report::ExecutionReport;

use crate::worker::control::signals;
use crate::worker::rebuild::StoreRebuildError;
use crate::worker::rebuild::replay;
use crate::worker::rebuild::replay::ReplayTarget;
use crate::worker::router::Router;
use crate::worker::stop_point;

/// How often a mark is tried while the store is being rebuilt.
const MAX_MARK_ATTEMPTS: usize = 60;
/// The pause between two tries.
const MARK_RETRY_DELAY: Duration = Duration::from_millis(250);

/// What a caller is told: a journaled report with its place in the journal, or a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionOutcome {
    /// The report.
    pub report: ExecutionReport,
    /// Its sequence; none for a receipt.
    pub journal_sequence: Option<u64>,
    /// Whether it answers an id that was known.
    pub is_replay: bool,
}

impl SubmissionOutcome {
    /// Returns a receipt about an order of an intent.
    pub fn receipt_for_intent(intent: &Intent, order: &Order, code: ReasonCode, message: &str) -> Self {
        let report = ExecutionReport::receipt(intent, Some(&order.order_id), order.mode, Reason::new(code, message));
        Self {
            report,
            journal_sequence: None,
            is_replay: false,
        }
    }

    /// Returns a receipt about an order that is known.
    pub fn receipt_for_order(order: &Order, code: ReasonCode, message: &str) -> Self {
        let report = ExecutionReport {
            status: crate::domain::order_terms::OrderStatus::Unknown,
            version: 0,
            reason: Some(Reason::new(code, message)),
            ..ExecutionReport::of(order)
        };
        Self {
            report,
            journal_sequence: None,
            is_replay: false,
        }
    }

    /// Whether it tells only that there is nothing journaled to tell.
    pub fn is_receipt(&self) -> bool {
        self.report.is_receipt()
    }

    /// Returns the answer on the bus.
    pub fn to_reply(&self) -> BusReply {
        BusReply {
            body: self.report.encode(),
            journal_sequence: self.journal_sequence,
            is_replay: self.is_replay,
        }
    }
}

/// Journals an order's events and tells its report; a receipt where the journal does not answer.
///
/// # Errors
/// None but those a later step may add: what has been settled is always told in some form.
pub async fn journal_and_build_outcome(router: &Router, booked: &BookedEffect) -> Result<SubmissionOutcome, Fault> {
    let order = &booked.order;
    match append_booked_effect(router, booked).await {
        Ok(sequence) => {
            stop_point::reach("after_journal");
            Ok(SubmissionOutcome {
                report: ExecutionReport::of(order),
                journal_sequence: Some(sequence),
                is_replay: false,
            })
        }
        Err(error) => {
            tracing::warn!(order_id = %order.order_id, %error, "a report is settled and not on the journal yet");
            let message = "the order was settled, and its report is not on the journal yet; ask for it again";
            Ok(SubmissionOutcome::receipt_for_order(
                order,
                ReasonCode::NotJournaled,
                message,
            ))
        }
    }
}

/// As [`record`], of an effect that was booked; what nobody expected of it is published.
///
/// # Errors
/// As [`record`].
pub async fn append_booked_effect(router: &Router, booked: &BookedEffect) -> Result<u64, AppendError> {
    signals::publish_notices(router, &booked.order, &booked.notices);
    append_and_mark(router, &booked.order, &booked.pending_events).await
}

/// Appends an order's events and returns the sequence of the last. They leave the outbox afterwards, outside of the
/// caller's time.
///
/// # Errors
/// When one of them is not known to be on the journal; it stays in the outbox.
pub async fn append_and_mark(router: &Router, order: &Order, pending: &[OutboxEntry]) -> Result<u64, AppendError> {
    stop_point::reach("before_journal");
    router.telemetry.count_report(order);
    let marks = append_events(router, order, pending).await?;
    let last = marks.last().map(|mark| mark.sequence);
    for (mark, event) in marks.into_iter().zip(pending) {
        let (marker, event) = (router.clone(), event.clone());
        router.deferred_tasks.spawn(async move {
            if let Err(error) = mark_or_replay(&marker, mark, &event).await {
                tracing::debug!(%error, "an event stays in the outbox for now");
            }
        });
    }
    last.ok_or_else(|| AppendError::Refused("there was no event to append".to_owned()))
}

/// Appends an order's events in order, each acknowledged before the next, and returns the marks to set.
///
/// # Errors
/// When one of them is not known to be on the journal.
pub async fn append_events(
    router: &Router,
    order: &Order,
    pending: &[OutboxEntry],
) -> Result<Vec<MarkJournaledRequest>, AppendError> {
    let subject = subjects::report(&order.broker, &order.account_id);
    let entry = |event: &OutboxEntry| JournalEntry {
        subject: subject.clone(),
        message_id: event_message_id(order, event),
        body: event.body.clone(),
        headers: Vec::new(),
    };
    let begun = Instant::now();
    let appended = router
        .journal_writer
        .append_in_order(pending.iter().map(entry).collect())
        .await;
    router.telemetry.observe_stage(PipelineStage::Journal, begun.elapsed());
    if matches!(appended, Err(AppendError::Behind { .. })) {
        // Nothing more is taken until somebody has looked at the journal.
        router.store.leave_epoch();
    }
    let sequences = appended?;
    let key = OrderKey::of(order);
    let mark = |(event, sequence): (&OutboxEntry, u64)| MarkJournaledRequest {
        key: key.clone(),
        order_id: order.order_id.clone(),
        version: event.version,
        settlement_id: read_settlement_header(&event.body).and_then(|header| header.id),
        sequence,
    };
    Ok(pending.iter().zip(sequences).map(mark).collect())
}

/// Returns what tells a repetition of an event from another effect that claims the same version of the order.
fn event_message_id(order: &Order, event: &OutboxEntry) -> String {
    match read_settlement_header(&event.body).and_then(|header| header.id) {
        Some(id) => format!("{}:{}:{}", order.order_id, event.version, id.simple()),
        None => format!("{}:{}", order.order_id, event.version),
    }
}

/// Marks an event as journaled. One that the store has lost (a copy restored from before its settlement) is replayed into
/// it: it is on the journal, so it happened.
///
/// # Errors
/// When the store does not answer within the time an epoch takes to change.
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
            // The store is being rebuilt: what becomes of this event shows when it is whole.
            Err(StoreError::Stale(_)) => tokio::time::sleep(MARK_RETRY_DELAY).await,
            Err(error) => return Err(error),
        }
    }
    let (order, settlement) =
        decode_journal_report(&event.body).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let replay = OrderReplay {
        order,
        deltas: settlement.deltas.into(),
        sequence,
        document: event.body.clone(),
    };
    let replayed = replay::replay_reports(router, ReplayTarget::InUse, &[replay]).await;
    let replayed = replayed.map_err(|error| match error {
        StoreRebuildError::Store(error) => error,
        other => StoreError::NotExecuted(other.to_string()),
    })?;
    if replayed > 0 {
        tracing::warn!(order_id = %mark.order_id, version = mark.version, "an event the store had lost was replayed");
    }
    Ok(())
}
