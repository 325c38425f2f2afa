//! The operator state and the journal: which of the two leads, and how the other one catches up.

use bytes::Bytes;

use crate::bus::journal::JournalEntry;
use crate::bus::subjects;
use crate::fault::{Fault, FaultCode};
use crate::store::control::operator_state::{OperatorState, OperatorStateChange};
use crate::wire::state::StateEvent;
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::reply::encode_json;
use crate::worker::router::Router;
use crate::worker::stop_point;

/// How often a change is journaled because another change came first.
const MAX_APPEND_ATTEMPTS: usize = 8;

/// Journals an active change that is not on the journal yet. If another change of its version was journaled first, this
/// one gets a later version.
///
/// # Errors
/// If store or journal do not reply.
pub async fn append_unjournaled_change(router: &Router) -> Result<(), Fault> {
    for _ in 0..MAX_APPEND_ATTEMPTS {
        let state = router.store.read_operator_state().await.map_err(store_unavailable)?;
        if state.journaled_version >= state.version {
            return Ok(());
        }
        let is_appended = append_if_latest_version(router, state.version, state.document.clone()).await?;
        let newest = latest_state_event(router).await?;
        let is_ours = newest.as_ref().is_some_and(|(_, document)| *document == state.document);
        if is_appended || is_ours {
            stop_point::reach("change_journaled");
            let marked = router.store.mark_operator_state_journaled(state.version).await;
            return marked.map_err(store_unavailable);
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

/// Renumbers an active, unjournaled change so that it follows another change that is journaled: a loosening that was
/// journaled and never became active must not replace a tightening. What the other change tightened is kept.
async fn renumber_change(router: &Router, state: &OperatorState, newest: &StateEvent) -> Result<(), Fault> {
    let unreadable = || {
        Fault::new(
            FaultCode::StoreUnavailable,
            "the shared state holds a change that cannot be decoded",
        )
    };
    let event = serde_json::from_slice::<StateEvent>(&state.document).map_err(|_| unreadable())?;
    let values = state.values.tightened_with(
        newest.to_operator_values().ok_or_else(unreadable)?,
        router.values_from_settings(),
    );
    let version = newest.version + 1;
    let set = OperatorStateChange {
        base_version: state.version,
        version,
        values,
        document: encode_json(&StateEvent { version, ..event }.with_operator_values(values))?.into(),
        is_journaled: false,
    };
    // If another worker came first, the next attempt reads its result.
    let outcome = router.store.set_operator_state(&set).await;
    outcome.map(|_| ()).map_err(store_unavailable)
}

/// Applies the newest journaled change if it is not active yet: its worker may have died before, or it was journaled
/// without a worker.
///
/// # Errors
/// If store or journal do not reply.
pub async fn activate_journaled_change(router: &Router) -> Result<(), Fault> {
    let Some((event, document)) = latest_state_event(router).await? else {
        return Ok(());
    };
    let state = router.store.read_operator_state().await.map_err(store_unavailable)?;
    if state.journaled_version < state.version {
        // An active change that is not journaled yet is not overwritten: it follows the journaled one, and keeps what that
        // tightened.
        let has_conflict = event.version >= state.version && document != state.document;
        return match has_conflict {
            true => append_unjournaled_change(router).await,
            false => Ok(()),
        };
    }
    if event.version <= state.version {
        return Ok(());
    }
    let set = state_set_from_event(&event, &document, state.version)?;
    router.store.set_operator_state(&set).await.map_err(store_unavailable)?;
    Ok(())
}

/// Returns the newest change on the journal, with its document.
///
/// # Errors
/// If the journal does not reply, or the event cannot be decoded.
pub async fn latest_state_event(router: &Router) -> Result<Option<(StateEvent, Bytes)>, Fault> {
    let stored = router
        .journal_reader
        .read_last_for_subject(&subjects::event(subjects::STATE_EVENT_KIND, None))
        .await;
    let stored = stored.map_err(|error| bus_unavailable(&error))?;
    let Some(stored) = stored else { return Ok(None) };
    let event = serde_json::from_slice(&stored.body)
        .map_err(|error| Fault::new(FaultCode::BusUnavailable, format!("the journal's state event: {error}")))?;
    Ok(Some((event, stored.body)))
}

/// Returns the store's command for a journaled change.
///
/// # Errors
/// If one of its limits is out of range.
pub fn state_set_from_event(
    event: &StateEvent,
    document: &Bytes,
    base_version: u64,
) -> Result<OperatorStateChange, Fault> {
    let out_of_range = || {
        Fault::new(
            FaultCode::StoreUnavailable,
            "the journal's state event has a limit out of range",
        )
    };
    Ok(OperatorStateChange {
        base_version,
        version: event.version,
        values: event.to_operator_values().ok_or_else(out_of_range)?,
        document: document.clone(),
        is_journaled: true,
    })
}

/// Journals a change unless a change of its version, or of a later one, is journaled. Reports whether it did.
///
/// # Errors
/// If the journal does not reply: the change may be on it.
pub(in crate::worker) async fn append_if_latest_version(
    router: &Router,
    version: u64,
    document: Bytes,
) -> Result<bool, Fault> {
    let subject = subjects::event(subjects::STATE_EVENT_KIND, None);
    let last = router.journal_reader.read_last_for_subject(&subject).await;
    let last = last.map_err(|error| bus_unavailable(&error))?;
    let newest: u64 = match &last {
        Some(stored) => serde_json::from_slice::<StateEvent>(&stored.body).map_or(0, |event| event.version),
        None => 0,
    };
    if newest >= version {
        return Ok(false);
    }
    let entry = JournalEntry::state_change(version, document);
    let last_sequence = last.map_or(0, |stored| stored.sequence);
    let appended = router.journal_writer.append_if_last(entry, last_sequence).await;
    Ok(appended.map_err(|error| bus_unavailable(&error))?.is_some())
}
