//! The shared state and the journal: which of the two leads, and how one catches up with the other.

use bytes::Bytes;

use crate::bus::headers::EXPECTED_LAST_SUBJECT_SEQUENCE;
use crate::bus::journal::{AppendError, JournalEntry};
use crate::bus::subjects;
use crate::domain::id::ContentHash;
use crate::fault::{Fault, FaultCode};
use crate::store::control::operator_state::{OperatorState, OperatorStateChange};
use crate::wire::state::StateEvent;
use crate::worker::control::operator_state::values_from_settings;
use crate::worker::control::operator_state::{MAX_CHANGE_ATTEMPTS, encode_state_event};
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::claim::store_unavailable;

/// What JetStream says of an append whose subject has moved on (its error 10071).
const WRONG_LAST_SEQUENCE: &str = "wrong last sequence";

/// Brings the journal and the store to the same state: a change that works and is not journaled goes to the journal, and
/// one that is journaled and does not work yet (its worker died in between) is put in force.
///
/// # Errors
/// When store or journal do not answer.
pub async fn append_unjournaled_change(router: &Router) -> Result<(), Fault> {
    for _ in 0..MAX_CHANGE_ATTEMPTS {
        let state = router
            .store
            .read_operator_state()
            .await
            .map_err(|error| store_unavailable(&error))?;
        if state.journaled_version >= state.version {
            return Ok(());
        }
        let is_appended = append_if_latest_version(router, state.version, state.document.clone()).await?;
        let newest = latest_state_event(router).await?;
        let is_ours = newest.as_ref().is_some_and(|(_, document)| *document == state.document);
        if is_appended || is_ours {
            stop_point::reach("change_journaled");
            let marked = router.store.mark_operator_state_journaled(state.version).await;
            return marked.map_err(|error| store_unavailable(&error));
        }
        if let Some((event, _)) = newest {
            renumber_change(router, &state, &event).await?;
        }
    }
    Err(Fault::new(
        FaultCode::StoreUnavailable,
        "the state changes faster than it can be journaled",
    ))
}

/// Gives a change that works, and is not on the journal, a version after another change that is: a loosening that was
/// journaled and never came into force must not take a tightening's place. What the other one tightened is kept.
async fn renumber_change(router: &Router, state: &OperatorState, newest: &StateEvent) -> Result<(), Fault> {
    let unreadable = || {
        Fault::new(
            FaultCode::StoreUnavailable,
            "the shared state holds a change that cannot be read",
        )
    };
    let event = serde_json::from_slice::<StateEvent>(&state.document).map_err(|_| unreadable())?;
    let values = state.values.tightened_with(
        newest.to_operator_values().ok_or_else(unreadable)?,
        values_from_settings(router),
    );
    let version = newest.version + 1;
    let set = OperatorStateChange {
        base_version: state.version,
        version,
        values,
        document: encode_state_event(&StateEvent { version, ..event }.with_operator_values(values))?,
        is_journaled: false,
    };
    // Where another worker came first, the next look shows what it made of it.
    let outcome = router.store.set_operator_state(&set).await;
    outcome.map(|_| ()).map_err(|error| store_unavailable(&error))
}

/// Puts the newest journaled change in force where it is not.
///
/// # Errors
/// When store or journal do not answer.
pub async fn activate_journaled_change(router: &Router) -> Result<(), Fault> {
    let Some((event, document)) = latest_state_event(router).await? else {
        return Ok(());
    };
    let state = router
        .store
        .read_operator_state()
        .await
        .map_err(|error| store_unavailable(&error))?;
    // A change that works and is not on the journal yet is not overwritten: it goes there first.
    if event.version <= state.version || state.journaled_version < state.version {
        return Ok(());
    }
    let set = state_set_from_event(&event, &document, state.version)?;
    router
        .store
        .set_operator_state(&set)
        .await
        .map_err(|error| store_unavailable(&error))?;
    Ok(())
}

/// Returns the newest change on the journal, with its document.
///
/// # Errors
/// When the journal does not answer, or holds something else.
pub async fn latest_state_event(router: &Router) -> Result<Option<(StateEvent, Bytes)>, Fault> {
    let stored = router
        .journal_reader
        .read_last_for_subject(&subjects::event(subjects::STATE_EVENT_KIND, None))
        .await;
    let stored = stored.map_err(|error| Fault::new(FaultCode::BusUnavailable, error.to_string()))?;
    let Some(stored) = stored else { return Ok(None) };
    let event = serde_json::from_slice(&stored.body)
        .map_err(|error| Fault::new(FaultCode::BusUnavailable, format!("the journal's state event: {error}")))?;
    Ok(Some((event, stored.body)))
}

/// Returns a journaled change as the store takes it.
///
/// # Errors
/// When one of its limits cannot be counted.
pub fn state_set_from_event(
    event: &StateEvent,
    document: &Bytes,
    builds_on: u64,
) -> Result<OperatorStateChange, Fault> {
    let out_of_range = || {
        Fault::new(
            FaultCode::StoreUnavailable,
            "the journal's state event has a limit out of range",
        )
    };
    Ok(OperatorStateChange {
        base_version: builds_on,
        version: event.version,
        values: event.to_operator_values().ok_or_else(out_of_range)?,
        document: document.clone(),
        is_journaled: true,
    })
}

/// Journals a change if no change of its version, or a later one, has been journaled; tells whether it did.
///
/// # Errors
/// When the journal does not answer: it may be on it then.
pub(in crate::worker) async fn append_if_latest_version(
    router: &Router,
    version: u64,
    document: Bytes,
) -> Result<bool, Fault> {
    let subject = subjects::event(subjects::STATE_EVENT_KIND, None);
    let last = router.journal_reader.read_last_for_subject(&subject).await;
    let last = last.map_err(|error| Fault::new(FaultCode::BusUnavailable, error.to_string()))?;
    let newest: u64 = match &last {
        Some(stored) => serde_json::from_slice::<StateEvent>(&stored.body).map_or(0, |event| event.version),
        None => 0,
    };
    if newest >= version {
        return Ok(false);
    }
    let message_id = format!("state:{version}:{}", ContentHash::of(&document).0);
    let after = last.map_or(0, |stored| stored.sequence);
    let appended = append_if_last_sequence(router, subject, message_id, document, after).await?;
    Ok(appended.is_some())
}

/// Appends an event if nothing has been appended to its subject after a sequence; returns its own, or `None` where
/// something has.
///
/// # Errors
/// When the journal does not answer: it may be on it then.
pub(in crate::worker) async fn append_if_last_sequence(
    router: &Router,
    subject: String,
    message_id: String,
    document: Bytes,
    last_sequence: u64,
) -> Result<Option<u64>, Fault> {
    let entry = JournalEntry {
        message_id,
        subject,
        body: document,
        headers: vec![(EXPECTED_LAST_SUBJECT_SEQUENCE.to_owned(), last_sequence.to_string())],
    };
    match router.journal_writer.append(entry).await {
        Ok(sequence) => Ok(Some(sequence)),
        // Another change was journaled at the same moment.
        Err(AppendError::Refused(reason)) if reason.contains(WRONG_LAST_SEQUENCE) => Ok(None),
        Err(error) => Err(Fault::new(FaultCode::BusUnavailable, error.to_string())),
    }
}
