//! Notes on orders: journaled, and returned only then. The store does not hold them.
//!
//! An order may have ended long ago and be on the journal alone, so the worker does not check that it exists. A
//! consumer of the journal ignores a note on an order that it does not know.

use crate::bus::journal::{AppendError, JournalEntry};
use crate::bus::request::{BusReply, BusRequest};
use crate::bus::subjects;
use crate::domain::note::Note;
use crate::fault::{Fault, FaultCode};
use crate::wire::note::{NoteEvent, decode_note_request};
use crate::worker::orders::account_caller::AccountCaller;
use crate::worker::router::Router;

/// Journals a note and replies with its event. A repetition under the same id counts once.
///
/// # Errors
/// An invalid request, or a journal that does not confirm the note.
pub async fn add_note(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let note = decode_note_request(&call.body)?;
    let result = append_note(router, call, &note).await;
    // The caller needs an id that was assigned here for its next attempt.
    result.map_err(|mut fault| {
        fault.metadata = fault.metadata.with("note_id", note.note_id.to_string());
        fault
    })
}

async fn append_note(router: &Router, call: &BusRequest, note: &Note) -> Result<BusReply, Fault> {
    let caller = AccountCaller::from_call(router, call)?;
    router.journal_capacity.check("notes", "nothing was noted")?;
    let content = note.content_hash(&caller.broker, &caller.account_id);
    let body = NoteEvent::of(note, &caller.broker, &caller.account_id).encode();
    let entry = JournalEntry {
        subject: subjects::event(subjects::NOTE_EVENT_KIND, Some(&caller.account_id)),
        message_id: format!("note:{}:{}", note.note_id, content.0),
        body: body.clone().into(),
        headers: Vec::new(),
    };
    let sequence = router
        .journal_writer
        .append(entry)
        .await
        .map_err(|error| append_fault(&error))?;
    tracing::info!(
        note_id = %note.note_id, order_id = %note.order_id, account_id = %caller.account_id, actor = note.actor,
        "journaled a note"
    );
    // A repetition has the sequence of the first append, and the reply carries that entry. If it cannot be read now,
    // this one differs from it in its timestamp alone.
    let first = router.journal_reader.read_entry(sequence).await.ok().flatten();
    let first = first.map(|stored| stored.body.to_vec()).filter(|first| *first != body);
    let is_replay = first.is_some();
    Ok(BusReply {
        body: first.unwrap_or(body),
        journal_sequence: Some(sequence),
        is_replay,
    })
}

fn append_fault(error: &AppendError) -> Fault {
    let code = match error {
        AppendError::OutcomeUnknown(_) => FaultCode::BusUnavailable,
        AppendError::QueueFull => FaultCode::QueueFull,
        AppendError::Refused(_) | AppendError::Behind { .. } => FaultCode::PersistenceFailed,
    };
    Fault::new(code, format!("{error}; send the note again under the same id"))
}
