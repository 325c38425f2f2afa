//! The order that a record or journal entry holds.

use crate::domain::order::Order;
use crate::fault::Fault;
use crate::wire::journal_report::decode_journal_report;
use crate::worker::faults::unreadable_document;

/// Returns the order of a report's document.
///
/// # Errors
/// If this version cannot read the document.
pub fn order_from_document(document: &[u8]) -> Result<Order, Fault> {
    decode_journal_report(document)
        .map(|(order, _)| order)
        .map_err(|error| unreadable_document(&error))
}
