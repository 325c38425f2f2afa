//! Dead man's switches and the journal: those that are armed and not journaled are appended, and the journal's events are
//! applied to the store, each once, in the journal's order, by any worker. A switch is disarmed when the store has applied
//! its event.

use std::time::Duration;

use bytes::Bytes;

use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;
use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::store::control::dead_man_switches::JournaledSwitchEvent;
use crate::store::rebuild::lease::StoreRebuild;
use crate::wire::heartbeat::HeartbeatEvent;
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

/// Journals armed switches that are not on the journal, some at a time. One that cannot be journaled does not hold up the
/// others.
///
/// # Errors
/// If the store does not reply; the first switch that could not be journaled, after the others have been tried.
pub async fn append_unjournaled_switches(router: &Router) -> Result<(), Fault> {
    let unjournaled = router.store.list_unjournaled_switches().await;
    let mut result = Ok(());
    for account_id in unjournaled.map_err(store_unavailable)? {
        let appended = append_unjournaled_switch(router, &account_id).await;
        if let Err(fault) = &appended {
            log_at_intervals!(warn, %account_id, %fault, "a dead man's switch could not be journaled yet; retrying");
        }
        result = result.and(appended);
    }
    result
}

/// Journals the switch of an account if it is still unjournaled. The append is conditional: it fails if another event of the
/// account was journaled after the check.
///
/// # Errors
/// If store or journal do not reply, or other events come first too often.
pub(super) async fn append_unjournaled_switch(router: &Router, account_id: &AccountId) -> Result<(), Fault> {
    for _ in 0..MAX_ATTEMPTS {
        let newest = latest_sequence(router, &subject(account_id)).await?;
        apply_journaled_switches(router, None, newest).await?;
        let found = router.store.find_switch(account_id).await.map_err(store_unavailable)?;
        let Some(switch) = found.filter(|switch| switch.is_awaiting_journal) else {
            return Ok(());
        };
        if let Some(sequence) = append_switch_event(router, account_id, switch.document, newest).await? {
            stop_point::reach("switch_journaled");
            return apply_journaled_switches(router, None, sequence).await;
        }
    }
    Err(contention_fault())
}

/// Journals an event of an armed switch and applies it. Reports whether it did: a switch that is not armed has none.
///
/// # Errors
/// If store or journal do not reply, or other events come first too often.
pub(super) async fn journal_and_apply(
    router: &Router,
    account_id: &AccountId,
    event: &HeartbeatEvent,
) -> Result<bool, Fault> {
    let document: Bytes = encode_json(event)?.into();
    for _ in 0..MAX_ATTEMPTS {
        let newest = latest_sequence(router, &subject(account_id)).await?;
        apply_journaled_switches(router, None, newest).await?;
        let found = router.store.find_switch(account_id).await.map_err(store_unavailable)?;
        let Some(switch) = found else {
            return Ok(false);
        };
        // A switch is on the journal before its next event.
        if switch.is_awaiting_journal {
            append_unjournaled_switch(router, account_id).await?;
            continue;
        }
        if let Some(sequence) = append_switch_event(router, account_id, document.clone(), newest).await? {
            apply_journaled_switches(router, None, sequence).await?;
            return Ok(true);
        }
    }
    Err(contention_fault())
}

/// Appends an event of an account's switch, as [`append_event`] does.
async fn append_switch_event(
    router: &Router,
    account_id: &AccountId,
    document: Bytes,
    last_sequence: u64,
) -> Result<Option<u64>, Fault> {
    let message_id = format!("heartbeat:{}", ContentHash::of(&document).0);
    append_event(router, &subject(account_id), message_id, document, last_sequence).await
}

/// Applies the journal's events to the store, at least up to `min_sequence`.
///
/// # Errors
/// If store or journal do not reply, or an event cannot be decoded.
pub async fn apply_journaled_switches(
    router: &Router,
    rebuild: Option<&StoreRebuild>,
    min_sequence: u64,
) -> Result<(), Fault> {
    let pattern = subjects::event_kind_wildcard(subjects::HEARTBEAT_EVENT_KIND);
    for _ in 0..MAX_ATTEMPTS {
        let mut from = watermark(router, rebuild).await?;
        loop {
            let reader = &router.journal_reader;
            let events = reader.read_next_for_subject(&pattern, from + 1, APPLY_BATCH_SIZE).await;
            let events = events.map_err(|error| bus_unavailable(&error))?;
            let Some(last) = events.last().map(|event| event.sequence) else {
                break;
            };
            let applied = events
                .iter()
                .map(switch_event_from_entry)
                .collect::<Result<Vec<_>, _>>()?;
            let applied = router.store.apply_switch_events(rebuild, (from, last), &applied).await;
            from = match applied.map_err(store_unavailable)? {
                true => last,
                // Another worker has applied some of them: this one continues after those.
                false => watermark(router, rebuild).await?,
            };
        }
        if from >= min_sequence {
            return Ok(());
        }
        tokio::time::sleep(REPLICA_LAG_DELAY).await;
    }
    Err(Fault::new(
        FaultCode::BusUnavailable,
        format!(
            "the journal has not returned entry {min_sequence} of a dead man's switch yet; the change takes effect as soon as \
             it does"
        ),
    ))
}

async fn watermark(router: &Router, rebuild: Option<&StoreRebuild>) -> Result<u64, Fault> {
    let known = router.store.read_switch_watermark(rebuild).await;
    known.map_err(store_unavailable)
}

/// Decodes a journal entry.
///
/// # Errors
/// If it is not the event of a switch.
pub(in crate::worker) fn switch_event_from_entry(stored: &StoredEntry) -> Result<JournaledSwitchEvent, Fault> {
    let event: Option<HeartbeatEvent> = serde_json::from_slice(&stored.body).ok();
    let (account_id, armed_ms) = event.and_then(|event| event.armed_account()).ok_or_else(|| {
        let detail = format!(
            "the journal's entry {} is no event of a dead man's switch",
            stored.sequence
        );
        Fault::new(FaultCode::StoreUnavailable, detail)
    })?;
    Ok(JournaledSwitchEvent {
        account_id,
        armed_ms,
        document: stored.body.clone(),
    })
}

fn subject(account_id: &AccountId) -> String {
    subjects::event(subjects::HEARTBEAT_EVENT_KIND, Some(account_id))
}

pub(super) fn contention_fault() -> Fault {
    Fault::new(
        FaultCode::StoreUnavailable,
        "the dead man's switch kept changing while this change was applied; send it again",
    )
}
