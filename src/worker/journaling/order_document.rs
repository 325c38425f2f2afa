//! The order that a record or journal entry holds.

use crate::bus::journal::JournalReader;
use crate::domain::order::Order;
use crate::fault::Fault;
use crate::store::orders::read::StoredOrder;
use crate::wire::journal_report::decode_journal_report;
use crate::worker::faults::{bus_unavailable, unreadable_document};

/// Returns the order of a report's document.
///
/// # Errors
/// If this version cannot read the document.
pub fn order_from_document(document: &[u8]) -> Result<Order, Fault> {
    decode_journal_report(document)
        .map(|(order, _)| order)
        .map_err(|error| unreadable_document(&error))
}

/// Returns the order of a record that holds a report, or held one: from the journal if only the journal still has it.
///
/// # Errors
/// If the journal cannot be read, or has another order's report in its place.
pub async fn load_stored_order(journal: &JournalReader, record: &StoredOrder) -> Result<Order, Fault> {
    if !record.document.is_empty() {
        return order_from_document(&record.document);
    }
    let sequence = record.known.journal_sequence;
    let stored = journal.read_entry(sequence).await;
    let stored = stored.map_err(|error| bus_unavailable(&error))?;
    let stored = stored.ok_or_else(|| bus_unavailable(&format!("the journal has no entry {sequence}")))?;
    let order = order_from_document(&stored.body)?;
    if order.order_id == record.known.order_id && order.version == record.known.version {
        return Ok(order);
    }
    let detail = format!("the journal's entry {sequence} belongs to another order");
    Err(bus_unavailable(&detail))
}
