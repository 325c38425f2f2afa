//! The current report of an order, read from the journal. A settled report that is not journaled yet is appended first.

use crate::domain::order_key::OrderKey;
use crate::fault::{Fault, FaultCode};
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::wire::report::ExecutionReport;
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::journaling::append;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::router::Router;
use crate::worker::submission::outcome::SubmissionOutcome;

/// How often a record is read that changes during the read.
const MAX_READ_ATTEMPTS: usize = 5;

/// Returns the order's current report; `None` for an order that is not known, or has no report yet.
///
/// # Errors
/// If store or journal cannot be read.
pub async fn current_report(router: &Router, key: &OrderKey) -> Result<Option<SubmissionOutcome>, Fault> {
    let current = current_settled_report(router, key).await?;
    Ok(current.map(|(report, sequence)| {
        let report = ExecutionReport {
            settlement: None,
            ..report
        };
        SubmissionOutcome::journaled(report, sequence)
    }))
}

/// Returns the order's current report with its settlement, as the journal has it, and its journal sequence; `None` for an
/// order that is not known, or has no report yet.
///
/// # Errors
/// If store or journal cannot be read.
pub async fn current_settled_report(router: &Router, key: &OrderKey) -> Result<Option<(ExecutionReport, u64)>, Fault> {
    for _ in 0..MAX_READ_ATTEMPTS {
        let Some(record) = router.store.read_order(key).await.map_err(store_unavailable)? else {
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
            // The journal has lost entries, and others have their sequences now.
            return Err(unreadable_report_fault(
                key,
                &format!("the journal's entry {sequence} belongs to another order"),
            ));
        }
        return Ok(Some((report, sequence)));
    }
    Err(Fault::new(
        FaultCode::StoreUnavailable,
        "the order changes faster than it can be read; read it again",
    ))
}

/// Appends and marks an order's settled events that are not journaled yet. The worker that settled them may do the same
/// at the same time: an event that is appended twice is the same event.
///
/// # Errors
/// If journal or store do not confirm them.
pub async fn append_outbox_events(router: &Router, record: &StoredOrder) -> Result<(), Fault> {
    let Some(last) = record.pending_events.last() else {
        return Err(Fault::new(
            FaultCode::StoreUnavailable,
            "the order has an unjournaled event that is not in the outbox",
        ));
    };
    let order = order_from_document(&last.body)?;
    let appended = append::append_events(router, &order, &record.pending_events, None).await;
    let marks = appended.map_err(|error| bus_unavailable(&error))?;
    for (mark, event) in marks.into_iter().zip(&record.pending_events) {
        let marked = append::mark_or_replay(router, mark, event).await;
        marked.map_err(store_unavailable)?;
    }
    Ok(())
}

fn unreadable_report_fault(key: &OrderKey, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(
        FaultCode::BusUnavailable,
        format!("the report of order {} cannot be read: {error}", key.name()),
    )
}
