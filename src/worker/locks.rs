//! Latches: locks that stay until somebody lifts them. Setting one works at once and is then journaled; lifting one is
//! journaled first. What the journal holds of them is applied to the store in the journal's order, by whichever worker
//! gets there, each event once: a lift is done when the store has come past its place.

use std::time::Duration;

use bytes::Bytes;

use super::claim::unavailable;
use super::router::Router;
use super::state::encoded;
use super::state_journal::append_after;
use super::stop_point;
use crate::bus::BusError;
use crate::bus::call::{Answer, Call};
use crate::bus::journal::Stored;
use crate::bus::subjects;
use crate::domain::control::{Latch, LatchScope};
use crate::domain::id::ContentHash;
use crate::domain::metadata::Metadata;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::{Code, Fault, quoted};
use crate::store::epoch::Healing;
use crate::store::latch::{LatchApply, LatchOutcome, StoredLatch};
use crate::wire::latch::{Lock, LockChange, LockEvent, LocksAnswer, MAX_LISTED, decode_lift, decode_set};

/// Who closes and lifts what nobody asked for by name.
pub const ROUTER: &str = "order-router";
/// The rule of a latch that an operator has set.
pub const OPERATOR_RULE: &str = "operator";
/// The rule whose latches a new trading day may lift.
pub const DAILY_LOSS_RULE: &str = "max_daily_loss";

/// How often a step is tried again that another worker came before.
const MAX_TRIES: usize = 16;
/// The most events one script call applies.
const APPLY_BATCH: usize = 256;
/// The pause before an event is looked for again that a copy of the journal does not have yet.
const LAG_PAUSE: Duration = Duration::from_millis(20);

/// Sets a latch for a rule: it works on all workers from their next order on, and is journaled afterwards. Returns whether
/// it is new. Where another generation is in force than the one its rule has judged by, nothing is set: a lift, or a new
/// day, may stand between.
///
/// # Errors
/// When the store does not take it: the orders it would stop must not pass then.
pub async fn latch(router: &Router, latch: Latch, generation: u64) -> Result<bool, Fault> {
    let event = locked(&latch, ROUTER, &latch.message);
    let Some(document) = set_in_force(router, &event, Some(generation)).await? else {
        return Ok(false);
    };
    let (router, latch_id) = (router.clone(), event.lock.latch_id);
    router.afterwards.clone().spawn(async move {
        if let Err(fault) = bring(&router, &latch_id, &document).await {
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
pub async fn lift_for_new_day(router: &Router, date: TradingDate) -> Result<usize, Fault> {
    if !router.new_day_lifts_daily_loss {
        return Ok(0);
    }
    let mut lifted = 0;
    for stored in listed(router).await? {
        let lock = read(&stored.document)?.lock;
        let is_of_earlier_day = lock.trading_date.is_some_and(|of| of < date);
        if lock.rule_id == DAILY_LOSS_RULE && is_of_earlier_day {
            let reason = format!("the trading day {date} has begun");
            lifted += usize::from(lift_one(router, &lock.latch_id, ROUTER, &reason).await?.is_some());
        }
    }
    Ok(lifted)
}

/// Answers with the latches in force, the newest first.
///
/// # Errors
/// When the store cannot be asked.
pub async fn list(router: &Router) -> Result<Answer, Fault> {
    let mut items = Vec::new();
    for stored in listed(router).await? {
        items.push(read(&stored.document)?.lock);
    }
    items.sort_by(|one, other| (other.since, &other.latch_id).cmp(&(one.since, &one.latch_id)));
    let total = u64::try_from(items.len()).unwrap_or(u64::MAX);
    items.truncate(MAX_LISTED);
    encoded(&LocksAnswer { items, total })
}

/// Closes what an operator names and answers with the lock; one that stands already is answered as it is.
///
/// # Errors
/// A request that is not whole, or names what there is not; a lock that works and could not be journaled.
pub async fn set(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let request = decode_set(&call.body)?;
    known(router, &request.scope)?;
    let control = router.control.refresh().await.map_err(|error| unavailable(&error))?;
    let latch = Latch {
        latch_id: Latch::id_of(control.mode, &request.scope, OPERATOR_RULE),
        scope: request.scope,
        mode: control.mode,
        rule_id: OPERATOR_RULE.into(),
        message: format!("closed by {}: {}", request.actor, request.reason),
        metadata: Metadata::new(),
        since: Timestamp::now(),
        trading_date: control.trading_date,
    };
    let event = locked(&latch, &request.actor, &request.reason);
    match set_in_force(router, &event, None).await? {
        Some(document) => {
            let journaled = bring(router, &event.lock.latch_id, &document).await;
            journaled.map_err(|fault| Fault {
                detail: format!("the lock works, and is not on the journal yet: {}", fault.detail),
                ..fault
            })?;
            encoded(&event.lock)
        }
        None => {
            let standing = listed(router).await?;
            let standing = standing.iter().find(|one| one.latch_id == event.lock.latch_id);
            match standing {
                Some(stored) => encoded(&read(&stored.document)?.lock),
                None => Err(too_fast()),
            }
        }
    }
}

/// Lifts the latch an operator names and answers with it as it was.
///
/// # Errors
/// `not_found` where no such latch is in force; a lift that could not be journaled.
pub async fn lift(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let request = decode_lift(&call.body)?;
    match lift_one(router, &request.latch_id, &request.actor, &request.reason).await? {
        Some(lock) => encoded(&lock),
        None => Err(Fault::field(
            Code::NotFound,
            "latch_id",
            format!("{:?} is no lock in force", quoted(&request.latch_id)),
        )),
    }
}

/// An operator's typing mistake must not close nothing.
fn known(router: &Router, scope: &LatchScope) -> Result<(), Fault> {
    match scope {
        LatchScope::Broker(broker) if !router.brokers.contains_key(broker) => Err(Fault::field(
            Code::UnknownBroker,
            "scope.broker",
            format!("is {broker}, which is not known"),
        )),
        LatchScope::Symbol(venue, symbol) if router.instruments.get(venue, symbol).is_none() => Err(Fault::field(
            Code::UnsupportedPair,
            "scope.symbol",
            format!("is {symbol}, which {venue} does not trade"),
        )),
        _ => Ok(()),
    }
}

fn locked(latch: &Latch, actor: &str, reason: &str) -> LockEvent {
    LockEvent {
        event: LockChange::Locked,
        actor: actor.to_owned(),
        reason: reason.to_owned(),
        timestamp: latch.since,
        lock: Lock::of(latch, actor, reason),
    }
}

/// Sets a latch in the store; returns the document that is to be journaled, or `None` where one of its id stands.
async fn set_in_force(router: &Router, event: &LockEvent, generation: Option<u64>) -> Result<Option<Bytes>, Fault> {
    let (document, latch_id) = (written(event)?, &event.lock.latch_id);
    let outcome = router.store.set_latch(latch_id, &document, generation).await;
    match outcome.map_err(|error| unavailable(&error))? {
        LatchOutcome::Set => {}
        // The answer to an earlier try of this very call may have been lost.
        LatchOutcome::Standing(standing) if standing == document => {}
        LatchOutcome::Standing(_) | LatchOutcome::Outdated => return Ok(None),
        LatchOutcome::Full => {
            let detail = "there are as many locks as there may be; lift some that are not needed any more";
            return Err(Fault::new(Code::StoreUnavailable, detail));
        }
    }
    stop_point::reach("latch_in_force");
    let LockEvent { actor, reason, .. } = event;
    tracing::warn!(latch_id, actor, reason, "locked");
    refresh(router).await;
    Ok(Some(document))
}

/// Journals a lift and applies it; `None` where no such latch is in force.
async fn lift_one(router: &Router, latch_id: &str, actor: &str, reason: &str) -> Result<Option<Lock>, Fault> {
    for _ in 0..MAX_TRIES {
        let Some(standing) = find(router, latch_id).await? else {
            return Ok(None);
        };
        let lock = read(&standing.document)?.lock;
        let subject = subject_of(&lock)?;
        let newest = newest(router, &subject).await?;
        catch_up(router, None, newest).await?;
        match find(router, latch_id).await? {
            // Nothing may be lifted that the journal does not know to be closed.
            Some(now) if now.is_waiting => {
                bring(router, latch_id, &now.document).await?;
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
        let document = written(&event)?;
        let message_id = format!("lift:{}", ContentHash::of(&document).0);
        if let Some(sequence) = append_after(router, subject, message_id, document, newest).await? {
            stop_point::reach("lift_journaled");
            catch_up(router, None, sequence).await?;
            tracing::warn!(latch_id, actor, reason, "lifted");
            refresh(router).await;
            return Ok(Some(lock));
        }
    }
    Err(too_fast())
}

/// Brings every latch that works and is not on the journal there.
///
/// # Errors
/// When store or journal do not answer.
pub async fn bring_to_journal(router: &Router) -> Result<(), Fault> {
    let waiting = router.store.waiting_latches(None).await;
    for stored in waiting.map_err(|error| unavailable(&error))?.latches {
        bring(router, &stored.latch_id, &stored.document).await?;
    }
    Ok(())
}

/// Brings the document of one latch to the journal, if it still waits: nothing can be journaled of the latch between the
/// look at it and the append.
async fn bring(router: &Router, latch_id: &str, document: &Bytes) -> Result<(), Fault> {
    let subject = subject_of(&read(document)?.lock)?;
    for _ in 0..MAX_TRIES {
        let newest = newest(router, &subject).await?;
        catch_up(router, None, newest).await?;
        let waiting = router.store.waiting_latches(None).await;
        let waiting = waiting.map_err(|error| unavailable(&error))?.latches;
        if !waiting
            .iter()
            .any(|one| one.latch_id == latch_id && one.document == *document)
        {
            return Ok(());
        }
        let message_id = format!("lock:{}", ContentHash::of(document).0);
        let appended = append_after(router, subject.clone(), message_id, document.clone(), newest).await?;
        if let Some(sequence) = appended {
            stop_point::reach("latch_journaled");
            return catch_up(router, None, sequence).await;
        }
    }
    Err(too_fast())
}

/// Applies what the journal holds of latches to the store, at least up to a sequence.
///
/// # Errors
/// When store or journal do not answer, or the journal holds something else.
pub async fn catch_up(router: &Router, healing: Option<&Healing>, at_least: u64) -> Result<(), Fault> {
    let pattern = subjects::events_of_kind(subjects::LOCK_EVENT);
    for _ in 0..MAX_TRIES {
        let known = router.store.waiting_latches(healing).await;
        let mut from = known.map_err(|error| unavailable(&error))?.sequence;
        loop {
            let events = next(router, &pattern, from).await?;
            let Some(last) = events.last().map(|event| event.sequence) else {
                break;
            };
            let applied = events.iter().map(apply).collect::<Result<Vec<_>, _>>()?;
            let applied = router.store.apply_latches(healing, (from, last), &applied).await;
            if !applied.map_err(|error| unavailable(&error))? {
                // Another worker has applied some of them: this one goes on from there.
                let known = router.store.waiting_latches(healing).await;
                from = known.map_err(|error| unavailable(&error))?.sequence;
                continue;
            }
            from = last;
        }
        if from >= at_least {
            return Ok(());
        }
        tokio::time::sleep(LAG_PAUSE).await;
    }
    Err(Fault::new(
        Code::BusUnavailable,
        format!("the journal does not show its entry {at_least} of a lock yet; the lock follows when it does"),
    ))
}

/// Returns the events after a sequence, at most [`APPLY_BATCH`].
async fn next(router: &Router, pattern: &str, after: u64) -> Result<Vec<Stored>, Fault> {
    let (mut events, mut from) = (Vec::new(), after + 1);
    while events.len() < APPLY_BATCH {
        match router
            .reader
            .next_of(pattern, from)
            .await
            .map_err(|error| away(&error))?
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

fn apply(stored: &Stored) -> Result<LatchApply, Fault> {
    let event = read(&stored.body)?;
    Ok(LatchApply {
        latch_id: event.lock.latch_id,
        is_set: event.event == LockChange::Locked,
        document: stored.body.clone(),
    })
}

async fn listed(router: &Router) -> Result<Vec<StoredLatch>, Fault> {
    let stored = router.store.latches(None).await;
    Ok(stored.map_err(|error| unavailable(&error))?.latches)
}

async fn find(router: &Router, latch_id: &str) -> Result<Option<StoredLatch>, Fault> {
    Ok(listed(router).await?.into_iter().find(|one| one.latch_id == latch_id))
}

/// Returns the sequence of a subject's newest event; 0 where it has none.
async fn newest(router: &Router, subject: &str) -> Result<u64, Fault> {
    let last = router.reader.last_of(subject).await.map_err(|error| away(&error))?;
    Ok(last.map_or(0, |stored| stored.sequence))
}

/// Returns where a latch's events stand: all of them on one subject, so that none is appended unseen.
fn subject_of(lock: &Lock) -> Result<String, Fault> {
    let scope = lock.scope.latch_scope().ok_or_else(unreadable)?;
    let account = match &scope {
        LatchScope::Account(account) => Some(account),
        LatchScope::All | LatchScope::Symbol(..) | LatchScope::Broker(_) => None,
    };
    Ok(subjects::event(subjects::LOCK_EVENT, account))
}

/// Brings this worker's copy up to date; the others' follow at their next order.
async fn refresh(router: &Router) {
    if let Err(error) = router.control.refresh().await {
        tracing::debug!(%error, "this worker learns of a lock at its next look");
    }
}

fn read(document: &[u8]) -> Result<LockEvent, Fault> {
    serde_json::from_slice(document).map_err(|_| unreadable())
}

fn written(event: &LockEvent) -> Result<Bytes, Fault> {
    let document = serde_json::to_vec(event).map_err(|error| Fault::new(Code::PersistenceFailed, error.to_string()))?;
    Ok(document.into())
}

fn unreadable() -> Fault {
    Fault::new(Code::StoreUnavailable, "a lock's record cannot be read")
}

fn away(error: &BusError) -> Fault {
    Fault::new(Code::BusUnavailable, error.to_string())
}

fn too_fast() -> Fault {
    Fault::new(
        Code::StoreUnavailable,
        "the lock changes faster than it can be changed; look at it and try again",
    )
}
