//! Events of one subject that workers append one after the other: each only behind the newest one that its worker has seen.

use bytes::Bytes;

use crate::bus::journal::JournalEntry;
use crate::fault::Fault;
use crate::worker::faults::bus_unavailable;
use crate::worker::router::Router;

/// Returns the sequence of a subject's newest event; 0 if it has none.
///
/// # Errors
/// If the journal does not reply.
pub(in crate::worker) async fn latest_sequence(router: &Router, subject: &str) -> Result<u64, Fault> {
    let last = router.journal_reader.read_last_for_subject(subject).await;
    let last = last.map_err(|error| bus_unavailable(&error))?;
    Ok(last.map_or(0, |stored| stored.sequence))
}

/// Appends an event if `last_sequence` is that of its subject's newest entry. Returns the event's sequence, or `None` if
/// another event came first.
///
/// # Errors
/// If the journal does not reply: the event may be on it.
pub(in crate::worker) async fn append_event(
    router: &Router,
    subject: &str,
    message_id: String,
    document: Bytes,
    last_sequence: u64,
) -> Result<Option<u64>, Fault> {
    let entry = JournalEntry {
        subject: subject.to_owned(),
        message_id,
        body: document,
        headers: Vec::new(),
    };
    let appended = router.journal_writer.append_if_last(entry, last_sequence).await;
    appended.map_err(|error| bus_unavailable(&error))
}
