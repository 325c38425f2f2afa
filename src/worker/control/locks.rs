//! Latches: locks that stay until somebody lifts them. Setting one works at once and is then journaled; lifting one is
//! journaled first. What the journal holds of them is applied to the store in the journal's order, by whichever worker
//! gets there, each event once: a lift is done when the store has come past its place.

use std::time::Duration;

use bytes::Bytes;

use crate::bus::BusError;
use crate::bus::journal::StoredEntry;
use crate::bus::request::{BusReply, BusRequest};
use crate::bus::subjects;
use crate::domain::control::{Lock, LockScope};
use crate::domain::id::ContentHash;
use crate::domain::metadata::Metadata;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::{Fault, FaultCode, quoted};
use crate::store::control::locks::{JournaledLockEvent, SetLockOutcome, StoredLock};
use crate::store::rebuild::lease::StoreRebuild;
use crate::wire::lock::{
    LockChange, LockDocument, LockEvent, LockList, MAX_LISTED_LOCKS, decode_lift_request, decode_lock_request,
};
use crate::worker::control::operator_state::encode_reply;
use crate::worker::control::operator_state_journal::append_if_last_sequence;
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::claim::store_unavailable;

/// Who closes and lifts what nobody asked for by name.
pub const ROUTER_ACTOR: &str = "order-router";
/// The rule of a latch that an operator has set.
pub const OPERATOR_RULE_ID: &str = "operator";
/// The rule whose latches a new trading day may lift.
pub const DAILY_LOSS_RULE_ID: &str = "max_daily_loss";

/// How often a step is tried again that another worker came before.
const MAX_ATTEMPTS: usize = 16;
/// The most events one script call applies.
const APPLY_BATCH_SIZE: usize = 256;
/// The pause before an event is looked for again that a copy of the journal does not have yet.
const REPLICA_LAG_DELAY: Duration = Duration::from_millis(20);

/// Sets a latch for a rule: it works on all workers from their next order on, and is journaled afterwards. Returns whether
/// it is new. Where another generation is in force than the one its rule has judged by, nothing is set: a lift, or a new
/// day, may stand between.
///
/// # Errors
/// When the store does not take it: the orders it would stop must not pass then.
pub async fn set_rule_lock(router: &Router, latch: Lock, generation: u64) -> Result<bool, Fault> {
    let event = locked_event(&latch, ROUTER_ACTOR, &latch.message);
    let Some(document) = store_lock(router, &event, Some(generation)).await? else {
        return Ok(false);
    };
    let (router, latch_id) = (router.clone(), event.lock.latch_id);
    router.deferred_tasks.clone().spawn(async move {
        if let Err(fault) = append_unjournaled_lock(&router, &latch_id, &document).await {
            tracing::warn!(latch_id, %fault, "a lock works, and waits for the journal");
        }
    });
    Ok(true)
}

/// Lifts the latches of the daily loss that were set before a day has begun, where the settings say that a new day lifts
/// them. Returns how many it lifted.
///
/// # Errors
/// When store or journal do not answer; what was not lifted stays closed, and a repetition goes on.
pub async fn lift_daily_loss_locks(router: &Router, date: TradingDate) -> Result<usize, Fault> {
    if !router.new_day_lifts_daily_loss {
        return Ok(0);
    }
    let mut lifted = 0;
    for stored in load_locks(router).await? {
        let lock = decode_lock_event(&stored.document)?.lock;
        let is_of_earlier_day = lock.trading_date.is_some_and(|of| of < date);
        if lock.rule_id == DAILY_LOSS_RULE_ID && is_of_earlier_day {
            let reason = format!("the trading day {date} has begun");
            lifted += usize::from(
                journal_and_apply_lift(router, &lock.latch_id, ROUTER_ACTOR, &reason)
                    .await?
                    .is_some(),
            );
        }
    }
    Ok(lifted)
}

/// Answers with the latches in force, the newest first.
///
/// # Errors
/// When the store cannot be asked.
pub async fn list_locks(router: &Router) -> Result<BusReply, Fault> {
    let mut items = Vec::new();
    for stored in load_locks(router).await? {
        items.push(decode_lock_event(&stored.document)?.lock);
    }
    items.sort_by(|one, other| (other.since, &other.latch_id).cmp(&(one.since, &one.latch_id)));
    let total = u64::try_from(items.len()).unwrap_or(u64::MAX);
    items.truncate(MAX_LISTED_LOCKS);
    encode_reply(&LockList { items, total })
}

/// Closes what an operator names and answers with the lock; one that stands already is answered as it is.
///
/// # Errors
/// A request that is not whole, or names what there is not; a lock that works and could not be journaled.
pub async fn set_operator_lock(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let request = decode_lock_request(&call.body)?;
    check_scope_exists(router, &request.scope)?;
    let control = router
        .control
        .refresh()
        .await
        .map_err(|error| store_unavailable(&error))?;
    let latch = Lock {
        lock_id: Lock::compose_id(control.mode, &request.scope, OPERATOR_RULE_ID),
        scope: request.scope,
        mode: control.mode,
        rule_id: OPERATOR_RULE_ID.into(),
        message: format!("closed by {}: {}", request.actor, request.reason),
        metadata: Metadata::new(),
        locked_at: Timestamp::now(),
        trading_date: control.trading_date,
    };
    let event = locked_event(&latch, &request.actor, &request.reason);
    match store_lock(router, &event, None).await? {
        Some(document) => {
            let journaled = append_unjournaled_lock(router, &event.lock.latch_id, &document).await;
            journaled.map_err(|fault| Fault {
                detail: format!("the lock works, and is not on the journal yet: {}", fault.detail),
                ..fault
            })?;
            encode_reply(&event.lock)
        }
        None => {
            let standing = load_locks(router).await?;
            let standing = standing.iter().find(|one| one.lock_id == event.lock.latch_id);
            match standing {
                Some(stored) => encode_reply(&decode_lock_event(&stored.document)?.lock),
                None => Err(contention_fault()),
            }
        }
    }
}

/// Lifts the latch an operator names and answers with it as it was.
///
/// # Errors
/// `not_found` where no such latch is in force; a lift that could not be journaled.
pub async fn lift_lock(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let request = decode_lift_request(&call.body)?;
    match journal_and_apply_lift(router, &request.latch_id, &request.actor, &request.reason).await? {
        Some(lock) => encode_reply(&lock),
        None => Err(Fault::for_field(
            FaultCode::NotFound,
            "latch_id",
            format!("{:?} is no lock in force", quoted(&request.latch_id)),
        )),
    }
}

/// An operator's typing mistake must not close nothing.
fn check_scope_exists(router: &Router, scope: &LockScope) -> Result<(), Fault> {
    match scope {
        LockScope::Broker(broker) if !router.brokers.contains_key(broker) => Err(Fault::for_field(
            FaultCode::UnknownBroker,
            "scope.broker",
            format!("is {broker}, which is not known"),
        )),
        LockScope::Symbol(venue, symbol) if router.instruments.get(venue, symbol).is_none() => Err(Fault::for_field(
            FaultCode::UnsupportedPair,
            "scope.symbol",
            format!("is {symbol}, which {venue} does not trade"),
        )),
        _ => Ok(()),
    }
}

fn locked_event(lock: &Lock, actor: &str, reason: &str) -> LockEvent {
    LockEvent {
        event: LockChange::Locked,
        actor: actor.to_owned(),
        reason: reason.to_owned(),
        timestamp: lock.locked_at,
        lock: LockDocument::of(lock, actor, reason),
    }
}

/// Sets a latch in the store; returns the document that is to be journaled, or `None` where one of its id stands.
async fn store_lock(router: &Router, event: &LockEvent, generation: Option<u64>) -> Result<Option<Bytes>, Fault> {
    let (document, latch_id) = (encode_lock_event(event)?, &event.lock.latch_id);
    let outcome = router.store.set_lock(latch_id, &document, generation).await;
    match outcome.map_err(|error| store_unavailable(&error))? {
        SetLockOutcome::Set => {}
        // The answer to an earlier try of this very call may have been lost.
        SetLockOutcome::AlreadySet(standing) if standing == document => {}
        SetLockOutcome::AlreadySet(_) | SetLockOutcome::GenerationChanged => return Ok(None),
        SetLockOutcome::TooManyLocks => {
            let detail = "there are as many locks as there may be; lift some that are not needed any more";
            return Err(Fault::new(FaultCode::StoreUnavailable, detail));
        }
    }
    stop_point::reach("latch_in_force");
    let LockEvent { actor, reason, .. } = event;
    tracing::warn!(latch_id, actor, reason, "locked");
    refresh_control(router).await;
    Ok(Some(document))
}

/// Journals a lift and applies it; `None` where no such latch is in force.
async fn journal_and_apply_lift(
    router: &Router,
    latch_id: &str,
    actor: &str,
    reason: &str,
) -> Result<Option<LockDocument>, Fault> {
    for _ in 0..MAX_ATTEMPTS {
        let Some(standing) = find_lock(router, latch_id).await? else {
            return Ok(None);
        };
        let lock = decode_lock_event(&standing.document)?.lock;
        let subject = lock_subject(&lock)?;
        let newest = latest_sequence(router, &subject).await?;
        apply_journaled_locks(router, None, newest).await?;
        match find_lock(router, latch_id).await? {
            // Nothing may be lifted that the journal does not know to be closed.
            Some(now) if now.is_awaiting_journal => {
                append_unjournaled_lock(router, latch_id, &now.document).await?;
                continue;
            }
            Some(now) if now.document == standing.document => {}
            _ => continue,
        }
        let event = LockEvent {
            event: LockChange::Lifted,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            timestamp: Timestamp::now(),
            lock: lock.clone(),
        };
        let document = encode_lock_event(&event)?;
        let message_id = format!("lift:{}", ContentHash::of(&document).0);
        if let Some(sequence) = append_if_last_sequence(router, subject, message_id, document, newest).await? {
            stop_point::reach("lift_journaled");
            apply_journaled_locks(router, None, sequence).await?;
            tracing::warn!(latch_id, actor, reason, "lifted");
            refresh_control(router).await;
            return Ok(Some(lock));
        }
    }
    Err(contention_fault())
}

/// Brings every latch that works and is not on the journal there.
///
/// # Errors
/// When store or journal do not answer.
pub async fn append_unjournaled_locks(router: &Router) -> Result<(), Fault> {
    let waiting = router.store.read_unjournaled_locks(None).await;
    for stored in waiting.map_err(|error| store_unavailable(&error))?.locks {
        append_unjournaled_lock(router, &stored.lock_id, &stored.document).await?;
    }
    Ok(())
}

/// Brings the document of one latch to the journal, if it still waits: nothing can be journaled of the latch between the
/// look at it and the append.
async fn append_unjournaled_lock(router: &Router, latch_id: &str, document: &Bytes) -> Result<(), Fault> {
    let subject = lock_subject(&decode_lock_event(document)?.lock)?;
    for _ in 0..MAX_ATTEMPTS {
        let newest = latest_sequence(router, &subject).await?;
        apply_journaled_locks(router, None, newest).await?;
        let waiting = router.store.read_unjournaled_locks(None).await;
        let waiting = waiting.map_err(|error| store_unavailable(&error))?.locks;
        if !waiting
            .iter()
            .any(|one| one.lock_id == latch_id && one.document == *document)
        {
            return Ok(());
        }
        let message_id = format!("lock:{}", ContentHash::of(document).0);
        let appended = append_if_last_sequence(router, subject.clone(), message_id, document.clone(), newest).await?;
        if let Some(sequence) = appended {
            stop_point::reach("latch_journaled");
            return apply_journaled_locks(router, None, sequence).await;
        }
    }
    Err(contention_fault())
}

/// Applies what the journal holds of latches to the store, at least up to a sequence.
///
/// # Errors
/// When store or journal do not answer, or the journal holds something else.
pub async fn apply_journaled_locks(
    router: &Router,
    rebuild: Option<&StoreRebuild>,
    min_sequence: u64,
) -> Result<(), Fault> {
    let pattern = subjects::event_kind_wildcard(subjects::LOCK_EVENT_KIND);
    for _ in 0..MAX_ATTEMPTS {
        let known = router.store.read_unjournaled_locks(rebuild).await;
        let mut from = known.map_err(|error| store_unavailable(&error))?.journal_watermark;
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
            if !applied.map_err(|error| store_unavailable(&error))? {
                // Another worker has applied some of them: this one goes on from there.
                let known = router.store.read_unjournaled_locks(rebuild).await;
                from = known.map_err(|error| store_unavailable(&error))?.journal_watermark;
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
        format!("the journal does not show its entry {min_sequence} of a lock yet; the lock follows when it does"),
    ))
}

/// Returns the events after a sequence, at most [`APPLY_BATCH`].
async fn read_next_events(router: &Router, pattern: &str, after: u64) -> Result<Vec<StoredEntry>, Fault> {
    let (mut events, mut from) = (Vec::new(), after + 1);
    while events.len() < APPLY_BATCH_SIZE {
        match router
            .journal_reader
            .read_next_for_subject(pattern, from)
            .await
            .map_err(|error| bus_unavailable_fault(&error))?
        {
            Some(event) => {
                from = event.sequence + 1;
                events.push(event);
            }
            None => break,
        }
    }
    Ok(events)
}

fn lock_update_from_entry(stored: &StoredEntry) -> Result<JournaledLockEvent, Fault> {
    let event = decode_lock_event(&stored.body)?;
    Ok(JournaledLockEvent {
        lock_id: event.lock.latch_id,
        is_set: event.event == LockChange::Locked,
        document: stored.body.clone(),
    })
}

async fn load_locks(router: &Router) -> Result<Vec<StoredLock>, Fault> {
    let stored = router.store.read_locks(None).await;
    Ok(stored.map_err(|error| store_unavailable(&error))?.locks)
}

async fn find_lock(router: &Router, latch_id: &str) -> Result<Option<StoredLock>, Fault> {
    Ok(load_locks(router)
        .await?
        .into_iter()
        .find(|one| one.lock_id == latch_id))
}

/// Returns the sequence of a subject's newest event; 0 where it has none.
async fn latest_sequence(router: &Router, subject: &str) -> Result<u64, Fault> {
    let last = router
        .journal_reader
        .read_last_for_subject(subject)
        .await
        .map_err(|error| bus_unavailable_fault(&error))?;
    Ok(last.map_or(0, |stored| stored.sequence))
}

/// Returns where a latch's events stand: all of them on one subject, so that none is appended unseen.
fn lock_subject(lock: &LockDocument) -> Result<String, Fault> {
    let scope = lock.scope.to_lock_scope().ok_or_else(unreadable_lock_fault)?;
    let account = match &scope {
        LockScope::Account(account) => Some(account),
        LockScope::All | LockScope::Symbol(..) | LockScope::Broker(_) => None,
    };
    Ok(subjects::event(subjects::LOCK_EVENT_KIND, account))
}

/// Brings this worker's copy up to date; the others' follow at their next order.
async fn refresh_control(router: &Router) {
    if let Err(error) = router.control.refresh().await {
        tracing::debug!(%error, "this worker learns of a lock at its next look");
    }
}

fn decode_lock_event(document: &[u8]) -> Result<LockEvent, Fault> {
    serde_json::from_slice(document).map_err(|_| unreadable_lock_fault())
}

fn encode_lock_event(event: &LockEvent) -> Result<Bytes, Fault> {
    let document =
        serde_json::to_vec(event).map_err(|error| Fault::new(FaultCode::PersistenceFailed, error.to_string()))?;
    Ok(document.into())
}

fn unreadable_lock_fault() -> Fault {
    Fault::new(FaultCode::StoreUnavailable, "a lock's record cannot be read")
}

fn bus_unavailable_fault(error: &BusError) -> Fault {
    Fault::new(FaultCode::BusUnavailable, error.to_string())
}

fn contention_fault() -> Fault {
    Fault::new(
        FaultCode::StoreUnavailable,
        "the lock changes faster than it can be changed; look at it and try again",
    )
}
