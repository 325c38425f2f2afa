//! Reports of an order as entries of the journal.

use uuid::Uuid;

use crate::bus::headers::TRACEPARENT;
use crate::bus::journal::JournalEntry;
use crate::bus::subjects;
use crate::domain::order::Order;
use crate::domain::venue_report::OutboxEntry;
use crate::wire::journal_report::read_settlement_header;

/// Returns the ids of the settlements that made an order's events.
pub(in crate::worker) fn settlement_ids(events: &[OutboxEntry]) -> Vec<Option<Uuid>> {
    let id = |event: &OutboxEntry| event.settlement_id.or_else(|| read_settlement_header(&event.body).id);
    events.iter().map(id).collect()
}

/// Returns the journal entries of an order's events. The last carries `traceparent`; the ones before it are other calls'.
pub(in crate::worker) fn journal_entries(
    order: &Order,
    events: &[OutboxEntry],
    traceparent: Option<String>,
) -> Vec<JournalEntry> {
    let subject = subjects::report(&order.broker, &order.account_id);
    let entry = |(event, settlement_id): (&OutboxEntry, Option<Uuid>)| JournalEntry {
        subject: subject.clone(),
        message_id: event_message_id(order, event.version, settlement_id),
        body: event.body.clone(),
        headers: Vec::new(),
    };
    let mut entries: Vec<JournalEntry> = events.iter().zip(settlement_ids(events)).map(entry).collect();
    if let (Some(last), Some(traceparent)) = (entries.last_mut(), traceparent) {
        last.headers.push((TRACEPARENT.to_owned(), traceparent));
    }
    entries
}

/// Returns the id by which JetStream detects a repeated append. It distinguishes a repetition from another effect of
/// the same version.
fn event_message_id(order: &Order, version: u32, settlement_id: Option<Uuid>) -> String {
    match settlement_id {
        Some(id) => format!("{}:{version}:{}", order.order_id, id.simple()),
        None => format!("{}:{version}", order.order_id),
    }
}
