//! The shared state an operator sets. What tightens works at once and is then journaled; what loosens is journaled
//! first.

use bytes::Bytes;

use super::claim::unavailable;
use super::router::Router;
use crate::bus::call::{Answer, Call};
use crate::bus::headers::EXPECTED_LAST_SUBJECT_SEQUENCE;
use crate::bus::journal::{AppendError, Entry};
use crate::bus::subjects;
use crate::domain::id::ContentHash;
use crate::domain::money::{Micros, Rounding};
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::store::state::{SharedState, StateOutcome, StateSet};
use crate::wire::brokers::{BrokerDetail, BrokersAnswer};
use crate::wire::state::{RouterState, StateChange, StateEvent, decode_change};

/// What JetStream says of an append whose subject has moved on (its error 10071).
const WRONG_LAST_SEQUENCE: &str = "wrong last sequence";
/// How often a change is tried again that another change came before.
const MAX_TRIES: usize = 8;

/// Answers with the state in force.
///
/// # Errors
/// When the store cannot be asked.
pub async fn get(router: &Router) -> Result<Answer, Fault> {
    let state = router.store.state().await.map_err(|error| unavailable(&error))?;
    told(router, &state).await
}

/// Changes the state and answers with what is in force then.
///
/// # Errors
/// A change that is not whole, or one that could not be journaled.
pub async fn set(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let change = decode_change(&call.body)?;
    let deadline = call
        .deadline
        .unwrap_or_else(|| call.arrived_at.after(router.patience.request));
    for _ in 0..MAX_TRIES {
        if Timestamp::now() >= deadline {
            return Err(super::admission::expired(deadline));
        }
        bring_to_journal(router).await?;
        let state = router.store.state().await.map_err(|error| unavailable(&error))?;
        if let Some(changed) = attempt(router, &state, &change).await? {
            tracing::warn!(
                actor = change.actor,
                reason = change.reason,
                version = changed.version,
                "the daily notional limit is {} now",
                change.daily_notional_limit
            );
            return told(router, &changed).await;
        }
    }
    Err(Fault::new(
        Code::StoreUnavailable,
        "the state changes faster than it can be set; try again",
    ))
}

/// Tries one change; `None` when another came first.
async fn attempt(router: &Router, state: &SharedState, change: &StateChange) -> Result<Option<SharedState>, Fault> {
    if state.journaled_version < state.version {
        // Somebody else's change is not on the journal yet: it must not be overwritten.
        return Ok(None);
    }
    let event = StateEvent {
        version: state.version + 1,
        daily_notional_limit: change.daily_notional_limit.decimal(),
        actor: change.actor.clone(),
        reason: change.reason.clone(),
        timestamp: Timestamp::now(),
    };
    let document =
        serde_json::to_vec(&event).map_err(|error| Fault::new(Code::PersistenceFailed, error.to_string()))?;
    let document = Bytes::from(document);
    let tightens = change.daily_notional_limit <= limit_in_force(router, state);
    if !tightens && !journal_if_last(router, event.version, document.clone()).await? {
        // Another change is journaled: it comes into force first.
        adopt_journaled(router).await?;
        return Ok(None);
    }
    let set = StateSet {
        builds_on: state.version,
        version: event.version,
        daily_notional_limit: change.daily_notional_limit,
        document,
        is_journaled: !tightens,
    };
    let outcome = router
        .store
        .set_state(&set)
        .await
        .map_err(|error| unavailable(&error))?;
    let changed = match outcome {
        StateOutcome::Changed(changed) => changed,
        StateOutcome::Superseded(_) if tightens => return Ok(None),
        // What loosens is never tried again over a state its caller has not seen.
        StateOutcome::Superseded(now) => return superseded(&now, &set.document),
    };
    if tightens {
        bring_to_journal(router).await?;
        return router
            .store
            .state()
            .await
            .map(Some)
            .map_err(|error| unavailable(&error));
    }
    Ok(Some(changed))
}

/// A journaled loosening that found another state: somebody else may have put it in force, or gone past it.
fn superseded(now: &SharedState, document: &Bytes) -> Result<Option<SharedState>, Fault> {
    if now.document == *document {
        return Ok(Some(now.clone()));
    }
    let detail = "the state was changed by somebody else meanwhile; look at it and set it again if it is still wanted";
    Err(Fault::new(Code::StoreUnavailable, detail))
}

/// Brings the journal and the store to the same state: a change that works and is not journaled goes to the journal, and
/// one that is journaled and does not work yet (its worker died in between) is put in force.
///
/// # Errors
/// When store or journal do not answer.
pub async fn bring_to_journal(router: &Router) -> Result<(), Fault> {
    for _ in 0..MAX_TRIES {
        let state = router.store.state().await.map_err(|error| unavailable(&error))?;
        if state.journaled_version >= state.version {
            return Ok(());
        }
        let is_appended = journal_if_last(router, state.version, state.document.clone()).await?;
        let newest = last_event(router).await?;
        let is_ours = newest.as_ref().is_some_and(|(_, document)| *document == state.document);
        if is_appended || is_ours {
            let marked = router.store.mark_state_journaled(state.version).await;
            return marked.map_err(|error| unavailable(&error));
        }
        if let Some((event, _)) = newest {
            renumber(router, &state, event.version + 1).await?;
        }
    }
    Err(Fault::new(
        Code::StoreUnavailable,
        "the state changes faster than it can be journaled",
    ))
}

/// Gives a change that works, and is not on the journal, a version after another change that is: a loosening that was
/// journaled and never came into force must not take a tightening's place.
async fn renumber(router: &Router, state: &SharedState, version: u64) -> Result<(), Fault> {
    let (Ok(event), Some(limit)) = (
        serde_json::from_slice::<StateEvent>(&state.document),
        state.daily_notional_limit,
    ) else {
        return Err(Fault::new(
            Code::StoreUnavailable,
            "the shared state holds a change that cannot be read",
        ));
    };
    let document = serde_json::to_vec(&StateEvent { version, ..event });
    let document = document.map_err(|error| Fault::new(Code::PersistenceFailed, error.to_string()))?;
    let set = StateSet {
        builds_on: state.version,
        version,
        daily_notional_limit: limit,
        document: document.into(),
        is_journaled: false,
    };
    // Where another worker came first, the next look shows what it made of it.
    router
        .store
        .set_state(&set)
        .await
        .map(|_| ())
        .map_err(|error| unavailable(&error))
}

/// Puts the newest journaled change in force where it is not.
///
/// # Errors
/// When store or journal do not answer.
pub async fn adopt_journaled(router: &Router) -> Result<(), Fault> {
    let Some((event, document)) = last_event(router).await? else {
        return Ok(());
    };
    let state = router.store.state().await.map_err(|error| unavailable(&error))?;
    // A change that works and is not on the journal yet is not overwritten: it goes there first.
    if event.version <= state.version || state.journaled_version < state.version {
        return Ok(());
    }
    let set = change_of(&event, &document, state.version)?;
    router
        .store
        .set_state(&set)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(())
}

/// Returns the newest change on the journal, with its document.
///
/// # Errors
/// When the journal does not answer, or holds something else.
pub async fn last_event(router: &Router) -> Result<Option<(StateEvent, Bytes)>, Fault> {
    let stored = router.reader.last_of(&subjects::event("state", None)).await;
    let stored = stored.map_err(|error| Fault::new(Code::BusUnavailable, error.to_string()))?;
    let Some(stored) = stored else { return Ok(None) };
    let event = serde_json::from_slice(&stored.body)
        .map_err(|error| Fault::new(Code::BusUnavailable, format!("the journal's state event: {error}")))?;
    Ok(Some((event, stored.body)))
}

/// Returns a journaled change as the store takes it.
///
/// # Errors
/// When its limit cannot be counted.
pub fn change_of(event: &StateEvent, document: &Bytes, builds_on: u64) -> Result<StateSet, Fault> {
    let limit = Micros::from_decimal(event.daily_notional_limit, Rounding::Down).ok_or_else(|| {
        Fault::new(
            Code::StoreUnavailable,
            "the journal's state event has a limit out of range",
        )
    })?;
    Ok(StateSet {
        builds_on,
        version: event.version,
        daily_notional_limit: limit,
        document: document.clone(),
        is_journaled: true,
    })
}

/// Journals a change if no change of its version, or a later one, has been journaled; tells whether it did.
async fn journal_if_last(router: &Router, version: u64, document: Bytes) -> Result<bool, Fault> {
    let subject = subjects::event("state", None);
    let last = router.reader.last_of(&subject).await;
    let last = last.map_err(|error| Fault::new(Code::BusUnavailable, error.to_string()))?;
    let newest: u64 = match &last {
        Some(stored) => serde_json::from_slice::<StateEvent>(&stored.body).map_or(0, |event| event.version),
        None => 0,
    };
    if newest >= version {
        return Ok(false);
    }
    let expected = last.map_or(0, |stored| stored.sequence).to_string();
    let entry = Entry {
        message_id: format!("state:{version}:{}", ContentHash::of(&document).0),
        subject,
        body: document,
        headers: vec![(EXPECTED_LAST_SUBJECT_SEQUENCE.to_owned(), expected)],
    };
    match router.journal.append(entry).await {
        Ok(_) => Ok(true),
        // Another change was journaled at the same moment.
        Err(AppendError::Refused(reason)) if reason.contains(WRONG_LAST_SEQUENCE) => Ok(false),
        Err(error) => Err(Fault::new(Code::BusUnavailable, error.to_string())),
    }
}

fn limit_in_force(router: &Router, state: &SharedState) -> Micros {
    state.daily_notional_limit.unwrap_or(router.limits.daily_notional)
}

async fn told(router: &Router, state: &SharedState) -> Result<Answer, Fault> {
    let trading_date = Timestamp::now().utc_date();
    let routed = router.store.notional_routed(router.control.mode(), trading_date).await;
    let answer = RouterState {
        mode: router.control.mode(),
        daily_notional_limit: limit_in_force(router, state).decimal(),
        notional_routed: routed.map_err(|error| unavailable(&error))?.decimal(),
        trading_date,
        version: state.version,
    };
    encoded(&answer)
}

/// Answers with the brokers and what they can do.
///
/// # Errors
/// None: everything it tells is known to this worker.
pub fn brokers(router: &Router) -> Result<Answer, Fault> {
    let detail = |(broker, handle): (&crate::domain::id::BrokerId, &crate::brokers::handle::BrokerHandle)| {
        let capabilities = handle.capabilities();
        BrokerDetail {
            broker: broker.to_string(),
            venues: capabilities.venues.iter().map(ToString::to_string).collect(),
            symbols: router
                .instruments
                .of_broker(broker)
                .map(|one| one.symbol.to_string())
                .collect(),
            times_in_force: capabilities.times_in_force.clone(),
        }
    };
    encoded(&BrokersAnswer {
        brokers: router.brokers.keys().map(ToString::to_string).collect(),
        details: router.brokers.iter().map(detail).collect(),
    })
}

fn encoded<T: serde::Serialize>(answer: &T) -> Result<Answer, Fault> {
    let body = serde_json::to_vec(answer).map_err(|error| Fault::new(Code::PersistenceFailed, error.to_string()))?;
    Ok(Answer {
        body,
        journal_sequence: None,
        replayed: false,
    })
}
