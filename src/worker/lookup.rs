//! The current report of an order: from the journal, what is settled and not journaled yet brought there first.

use super::claim::unavailable;
use super::recording::{self, Told};
use super::router::Router;
use crate::domain::order::Order;
use crate::fault::{Code, Fault};
use crate::store::keys::OrderKey;
use crate::store::read::Record;
use crate::store::reserve::Stage;
use crate::wire::report::ExecutionReport;
use crate::wire::settlement::read_document;

/// How often a record that changes while it is read is read again.
const MAX_READS: usize = 5;

/// Returns the order's current report; `None` for an order that is not known, or only claimed.
///
/// # Errors
/// When store or journal cannot be read.
pub async fn report(router: &Router, key: &OrderKey) -> Result<Option<Told>, Fault> {
    for _ in 0..MAX_READS {
        let Some(record) = router.store.read(key).await.map_err(|error| unavailable(&error))? else {
            return Ok(None);
        };
        if record.known.stage == Stage::Claimed {
            return Ok(None);
        }
        if record.known.journaled_version < record.known.version {
            bring_to_journal(router, &record).await?;
            continue;
        }
        let sequence = record.known.journal_sequence;
        let stored = router
            .reader
            .get(sequence)
            .await
            .map_err(|error| unreadable(key, &error))?;
        let Some(stored) = stored else {
            return Err(unreadable(key, &format!("the journal has no entry {sequence}")));
        };
        let report = ExecutionReport::decode(&stored.body).map_err(|error| unreadable(key, &error))?;
        if report.order_id != record.known.order_id.as_str() || report.version != record.known.version {
            // The journal has lost entries and others have taken their places.
            return Err(unreadable(
                key,
                &format!("the journal's entry {sequence} is another order's"),
            ));
        }
        let report = ExecutionReport {
            settlement: None,
            ..report
        };
        return Ok(Some(Told {
            report,
            journal_sequence: Some(sequence),
            is_replay: false,
        }));
    }
    Err(Fault::new(
        Code::StoreUnavailable,
        "the order changes faster than it can be read; ask again",
    ))
}

/// Appends what is settled and not on the journal, and marks it. Whoever settled it may be doing the same: an event
/// that is appended twice is the same event.
///
/// # Errors
/// When journal or store do not take it.
pub async fn bring_to_journal(router: &Router, record: &Record) -> Result<(), Fault> {
    let Some(last) = record.pending.last() else {
        return Err(Fault::new(
            Code::StoreUnavailable,
            "an event waits for the journal and is not in the outbox",
        ));
    };
    let order = order_of(&last.body)?;
    let sequence = recording::append(router, &order, &record.pending).await;
    let marks = sequence.map_err(|error| Fault::new(Code::BusUnavailable, error.to_string()))?;
    for (mark, event) in marks.into_iter().zip(&record.pending) {
        let marked = recording::mark_or_replay(&router.store, mark, event).await;
        marked.map_err(|error| unavailable(&error))?;
    }
    Ok(())
}

/// Returns the order a document tells of.
///
/// # Errors
/// When the document cannot be read; the store then holds what this version does not understand.
pub fn order_of(document: &[u8]) -> Result<Order, Fault> {
    read_document(document)
        .map(|(order, _)| order)
        .map_err(|error| Fault::new(Code::StoreUnavailable, error.to_string()))
}

fn unreadable(key: &OrderKey, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(
        Code::BusUnavailable,
        format!("the report of order {} cannot be read: {error}", key.name()),
    )
}
