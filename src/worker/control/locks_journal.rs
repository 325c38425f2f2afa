//! Locks and the journal: unjournaled locks are appended, and the journal's lock events are applied to the store, each
//! once, in the journal's order, by any worker. A lift takes effect when the store has applied its event.

use std::time::Duration;

use bytes::Bytes;

use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::store::control::locks::JournaledLockEvent;
use crate::store::rebuild::lease::StoreRebuild;
use crate::wire::lock::{LockChange, LockDocument, LockEvent};
use crate::worker::control::event_sequence::{append_event, latest_sequence};
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::reply::encode_json;
use crate::worker::router::Router;
use crate::worker::stop_point;

/// How often a step is tried because another worker's step came first.
pub(super) const MAX_ATTEMPTS: usize = 16;
/// The most events that one script call applies.
const APPLY_BATCH_SIZE: usize = 64;
/// The pause before an event is read again that a replica of the journal does not have yet.
const REPLICA_LAG_DELAY: Duration = Duration::from_millis(20);

/// Journals every active lock that is not on the journal. One that cannot be journaled does not hold up the others.
///
/// # Errors
/// If the store does not reply; the first lock that could not be journaled, after all others have been tried.
pub async fn append_unjournaled_locks(router: &Router) -> Result<(), Fault> {
    let waiting = router.store.read_unjournaled_locks(None).await;
    let mut result = Ok(());
    for stored in waiting.map_err(store_unavailable)?.locks {
        let appended = append_unjournaled_lock(router, &stored.lock_id, &stored.document).await;
        if let Err(fault) = &appended {
            log_at_intervals!(warn, lock = stored.lock_id, %fault, "a lock could not be journaled yet; retrying");
        }
        result = result.and(appended);
    }
    result
}

/// Journals one lock if it is still unjournaled. The append is conditional: it fails if another event of the lock's
/// subject was journaled after the check.
///
/// # Errors
/// If store or journal do not reply, or other events come first too often.
pub(super) async fn append_unjournaled_lock(router: &Router, lock_id: &str, document: &Bytes) -> Result<(), Fault> {
    let subject = lock_subject(&decode_lock_event(document)?.lock)?;
    for _ in 0..MAX_ATTEMPTS {
        let newest = latest_sequence(router, &subject).await?;
        apply_journaled_locks(router, None, newest).await?;
        let waiting = router.store.read_unjournaled_locks(None).await;
        let waiting = waiting.map_err(store_unavailable)?.locks;
        if !waiting
            .iter()
            .any(|one| one.lock_id == lock_id && one.document == *document)
        {
            return Ok(());
        }
        let message_id = format!("lock:{}", ContentHash::of(document).0);
        let appended = append_event(router, &subject, message_id, document.clone(), newest).await?;
        if let Some(sequence) = appended {
            stop_point::reach("lock_journaled");
            return apply_journaled_locks(router, None, sequence).await;
        }
    }
    Err(contention_fault())
}

/// Applies the journal's lock events to the store, at least up to `min_sequence`.
///
/// # Errors
/// If store or journal do not reply, or an event cannot be decoded.
pub async fn apply_journaled_locks(
    router: &Router,
    rebuild: Option<&StoreRebuild>,
    min_sequence: u64,
) -> Result<(), Fault> {
    let pattern = subjects::event_kind_wildcard(subjects::LOCK_EVENT_KIND);
    for _ in 0..MAX_ATTEMPTS {
        let known = router.store.read_unjournaled_locks(rebuild).await;
        let mut from = known.map_err(store_unavailable)?.journal_watermark;
        loop {
            let events = read_next_events(router, &pattern, from).await?;
            let Some(last) = events.last().map(|event| event.sequence) else {
                break;
            };
            let applied = events
                .iter()
                .map(lock_update_from_entry)
                .collect::<Result<Vec<_>, _>>()?;
            let applied = router.store.apply_lock_events(rebuild, (from, last), &applied).await;
            if !applied.map_err(store_unavailable)? {
                // Another worker has applied some of them: this one continues after those.
                let known = router.store.read_unjournaled_locks(rebuild).await;
                from = known.map_err(store_unavailable)?.journal_watermark;
                continue;
            }
            from = last;
        }
        if from >= min_sequence {
            return Ok(());
        }
        tokio::time::sleep(REPLICA_LAG_DELAY).await;
    }
    Err(Fault::new(
        FaultCode::BusUnavailable,
        format!(
            "the journal has not returned entry {min_sequence} of a lock yet; the change takes effect as soon as it does"
        ),
    ))
}

/// Returns the lock events after a sequence, at most [`APPLY_BATCH_SIZE`].
async fn read_next_events(router: &Router, pattern: &str, after: u64) -> Result<Vec<StoredEntry>, Fault> {
    let reader = &router.journal_reader;
    let events = reader.read_next_for_subject(pattern, after + 1, APPLY_BATCH_SIZE).await;
    events.map_err(|error| bus_unavailable(&error))
}

pub(in crate::worker) fn lock_update_from_entry(stored: &StoredEntry) -> Result<JournaledLockEvent, Fault> {
    let event = decode_lock_event(&stored.body)?;
    Ok(JournaledLockEvent {
        lock_id: event.lock.latch_id,
        is_set: event.event == LockChange::Locked,
        document: stored.body.clone(),
    })
}

/// Returns the subject of a lock's events. All of them share it, so that a conditional append detects each of them.
pub(super) fn lock_subject(lock: &LockDocument) -> Result<String, Fault> {
    let scope = lock.scope.to_lock_scope().ok_or_else(unreadable_lock_fault)?;
    Ok(subjects::event(subjects::LOCK_EVENT_KIND, scope.account()))
}

pub(super) fn decode_lock_event(document: &[u8]) -> Result<LockEvent, Fault> {
    serde_json::from_slice(document).map_err(|_| unreadable_lock_fault())
}

pub(super) fn encode_lock_event(event: &LockEvent) -> Result<Bytes, Fault> {
    Ok(encode_json(event)?.into())
}

fn unreadable_lock_fault() -> Fault {
    Fault::new(FaultCode::StoreUnavailable, "a lock's record cannot be decoded")
}

pub(super) fn contention_fault() -> Fault {
    Fault::new(
        FaultCode::StoreUnavailable,
        "the lock kept changing while this change was applied; read it and try again",
    )
}
