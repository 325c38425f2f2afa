//! Notes on orders: journaled, and told only then. The store knows nothing of them.
//!
//! An order may have ended long ago and stand on the journal alone, so nobody looks here whether there is one: whoever
//! follows the journal passes over a note on an order it does not know.

use crate::bus::journal::{AppendError, JournalEntry};
use crate::bus::request::{BusReply, BusRequest};
use crate::bus::subjects;
use crate::domain::note::Note;
use crate::fault::{Fault, FaultCode};
use crate::wire::note::{NoteEvent, decode_note_request};
use crate::worker::orders::AccountCaller;
use crate::worker::router::Router;

/// Journals a note and answers with its event.
///
/// # Errors
/// A request that is not whole, or what keeps the note from the journal. Sent again under the same id it counts once.
pub async fn add_note(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let note = decode_note_request(&call.body)?;
    let answer = append_note(router, call, &note).await;
    // An id that was assigned here has to be known for the next try.
    answer.map_err(|mut fault| {
        fault.metadata = fault.metadata.with("note_id", note.note_id.to_string());
        fault
    })
}

async fn append_note(router: &Router, call: &BusRequest, note: &Note) -> Result<BusReply, Fault> {
    let caller = AccountCaller::from_call(router, call)?;
    if !router.journal_capacity.has_room() {
        let detail = "the journal is nearly full or out of reach and takes no note; nothing was noted";
        return Err(Fault::new(FaultCode::PersistenceFailed, detail));
    }
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
    tracing::info!(note_id = %note.note_id, order_id = %note.order_id, account_id = %caller.account_id, actor = note.actor, "noted");
    // A repetition is given the first one's place, and that is what is told. Where it cannot be read just now, ours
    // differs from it in its timestamp alone.
    let first = router.journal_reader.read_entry(sequence).await.ok().flatten();
    let first = first.map(|stored| stored.body.to_vec()).filter(|first| *first != body);
    let replayed = first.is_some();
    Ok(BusReply {
        body: first.unwrap_or(body),
        journal_sequence: Some(sequence),
        is_replay: replayed,
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
