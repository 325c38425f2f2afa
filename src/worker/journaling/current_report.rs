//! The current report of an order: from the journal, what is settled and not journaled yet brought there first.

use crate::domain::order::Order;
use crate::fault::{Fault, FaultCode};
use crate::store::keys::OrderKey;
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::wire::journal_report::decode_journal_report;
use crate::wire::report::ExecutionReport;
use crate::worker::journaling::append;
use crate::worker::journaling::append::SubmissionOutcome;
use crate::worker::router::Router;
use crate::worker::submission::claim::store_unavailable;

/// How often a record that changes while it is read is read again.
const MAX_READ_ATTEMPTS: usize = 5;

/// Returns the order's current report; `None` for an order that is not known, or of which nothing has
/// been told.
///
/// # Errors
/// When store or journal cannot be read.
pub async fn current_report(router: &Router, key: &OrderKey) -> Result<Option<SubmissionOutcome>, Fault> {
    for _ in 0..MAX_READ_ATTEMPTS {
        let Some(record) = router
            .store
            .read_order(key)
            .await
            .map_err(|error| store_unavailable(&error))?
        else {
            return Ok(None);
        };
        if record.known.stage.is_in_flight() || record.known.stage == RecordStage::Released {
            return Ok(None);
        }
        if record.known.journaled_version < record.known.version {
            append_outbox_events(router, &record).await?;
            continue;
        }
        let sequence = record.known.journal_sequence;
        let stored = router
            .journal_reader
            .read_entry(sequence)
            .await
            .map_err(|error| unreadable_report_fault(key, &error))?;
        let Some(stored) = stored else {
            return Err(unreadable_report_fault(
                key,
                &format!("the journal has no entry {sequence}"),
            ));
        };
        let report = ExecutionReport::decode(&stored.body).map_err(|error| unreadable_report_fault(key, &error))?;
        if report.order_id != record.known.order_id.as_str() || report.version != record.known.version {
            // The journal has lost entries and others have taken their places.
            return Err(unreadable_report_fault(
                key,
                &format!("the journal's entry {sequence} is another order's"),
            ));
        }
        let report = ExecutionReport {
            settlement: None,
            ..report
        };
        return Ok(Some(SubmissionOutcome {
            report,
            journal_sequence: Some(sequence),
            is_replay: false,
        }));
    }
    Err(Fault::new(
        FaultCode::StoreUnavailable,
        "the order changes faster than it can be read; ask again",
    ))
}

/// Appends what is settled and not on the journal, and marks it. Whoever settled it may be doing the same: an event
/// that is appended twice is the same event.
///
/// # Errors
/// When journal or store do not take it.
pub async fn append_outbox_events(router: &Router, record: &StoredOrder) -> Result<(), Fault> {
    let Some(last) = record.pending_events.last() else {
        return Err(Fault::new(
            FaultCode::StoreUnavailable,
            "an event waits for the journal and is not in the outbox",
        ));
    };
    let order = order_from_document(&last.body)?;
    let sequence = append::append_events(router, &order, &record.pending_events).await;
    let marks = sequence.map_err(|error| Fault::new(FaultCode::BusUnavailable, error.to_string()))?;
    for (mark, event) in marks.into_iter().zip(&record.pending_events) {
        let marked = append::mark_or_replay(router, mark, event).await;
        marked.map_err(|error| store_unavailable(&error))?;
    }
    Ok(())
}

/// Returns the order a document tells of.
///
/// # Errors
/// When the document cannot be read; the store then holds what this version does not understand.
pub fn order_from_document(document: &[u8]) -> Result<Order, Fault> {
    decode_journal_report(document)
        .map(|(order, _)| order)
        .map_err(|error| Fault::new(FaultCode::StoreUnavailable, error.to_string()))
}

fn unreadable_report_fault(key: &OrderKey, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(
        FaultCode::BusUnavailable,
        format!("the report of order {} cannot be read: {error}", key.name()),
    )
}
