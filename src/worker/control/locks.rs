//! Locks: closures of an account, a symbol, a broker or everything that remain until someone lifts them. A lock takes
//! effect at once and is then journaled; a lift is journaled first (law 7 in docs/architecture.md). [`locks_journal`]
//! keeps store and journal in step.

use bytes::Bytes;

use crate::bus::request::{BusReply, BusRequest};
use crate::domain::content_hash::ContentHash;
use crate::domain::control::{Lock, LockScope};
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::Mode;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::{Fault, FaultCode, quoted};
use crate::repeated_log::log_at_intervals;
use crate::risk::rules::max_daily_loss;
use crate::store::control::alerts::WaitingAlert;
use crate::store::control::locks::{SetLockOutcome, StoredLock};
use crate::wire::lock::{
    LockChange, LockDocument, LockEvent, LockList, MAX_LISTED_LOCKS, decode_lift_request, decode_lock_request,
};
use crate::worker::control::event_sequence::{append_event, latest_sequence};
use crate::worker::control::locks_journal;
use crate::worker::control::locks_journal::{
    MAX_ATTEMPTS, append_unjournaled_lock, apply_journaled_locks, contention_fault, decode_lock_event,
    encode_lock_event,
};
use crate::worker::faults::store_unavailable;
use crate::worker::reply::encode_reply;
use crate::worker::router::Router;
use crate::worker::stop_point;

/// The actor of locks and lifts that no operator requested.
pub const ROUTER_ACTOR: &str = "order-router";
/// The rule id of a lock that an operator sets.
pub const OPERATOR_RULE_ID: &str = "operator";

/// Sets a lock for a rule, with its alert in the outbox of alerts. It applies on all workers from their next order on and is journaled afterwards. Reports
/// whether the lock is new. If the active generation is not the one that the rule was evaluated under, nothing is set:
/// the lock may have been lifted, or a new day opened, in between.
///
/// # Errors
/// If the store does not confirm the lock: the orders that it would stop must not pass.
pub async fn set_rule_lock(
    router: &Router,
    lock: Lock,
    generation: Option<u64>,
    alert: Option<&WaitingAlert>,
) -> Result<bool, Fault> {
    let event = locked_event(&lock, ROUTER_ACTOR, &lock.message);
    // Only the lock of a loss replaces the ledger's mark of one.
    let breach = (*lock.rule_id == *max_daily_loss::ID).then_some((lock.mode, &lock.scope));
    let Some(document) = store_lock(router, &event, generation, breach, alert).await? else {
        return Ok(false);
    };
    let (router, lock_id) = (router.clone(), event.lock.latch_id);
    router.deferred_tasks.clone().spawn(async move {
        if let Err(fault) = append_unjournaled_lock(&router, &lock_id, &document).await {
            log_at_intervals!(warn, lock_id, %fault, "a lock is active and not journaled yet; recovery journals it");
        }
    });
    Ok(true)
}

/// Lifts the locks of the daily loss rule that were set before a trading day, if `risk.new_day_lifts_daily_loss` is
/// set. Returns how many it lifted.
///
/// # Errors
/// If store or journal do not reply. The remaining locks stay active, and a repetition continues with them.
pub async fn lift_daily_loss_locks(router: &Router, date: TradingDate) -> Result<usize, Fault> {
    if !router.limits().new_day_lifts_daily_loss {
        return Ok(0);
    }
    let mut lifted = 0;
    for stored in load_locks(router).await? {
        let lock = decode_lock_event(&stored.document)?.lock;
        let is_of_earlier_day = lock.trading_date.is_some_and(|locked_on| locked_on < date);
        if lock.rule_id == max_daily_loss::ID && is_of_earlier_day {
            let reason = format!("the trading day {date} has opened");
            lifted += usize::from(
                journal_and_apply_lift(router, &lock.latch_id, ROUTER_ACTOR, &reason)
                    .await?
                    .is_some(),
            );
        }
    }
    Ok(lifted)
}

/// Replies with the active locks, the newest first, at most [`MAX_LISTED_LOCKS`].
///
/// # Errors
/// If the store does not reply.
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

/// Sets a lock for an operator and replies with it. A lock that is already active is returned as it is.
///
/// # Errors
/// An invalid request, or one for an unknown broker or symbol; a lock that is active and could not be journaled.
pub async fn set_operator_lock(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let request = decode_lock_request(&call.body)?;
    check_scope_exists(router, &request.scope)?;
    let control = router.control.refresh().await.map_err(store_unavailable)?;
    let lock = Lock {
        lock_id: Lock::compose_id(control.mode, &request.scope, OPERATOR_RULE_ID),
        scope: request.scope,
        mode: control.mode,
        rule_id: OPERATOR_RULE_ID.into(),
        message: format!("closed by {}: {}", request.actor, request.reason),
        metadata: Metadata::new(),
        locked_at: Timestamp::now(),
        trading_date: control.trading_date,
    };
    let event = locked_event(&lock, &request.actor, &request.reason);
    match store_lock(router, &event, None, None, None).await? {
        Some(document) => {
            let appended = append_unjournaled_lock(router, &event.lock.latch_id, &document).await;
            appended.map_err(|fault| Fault {
                detail: format!("the lock is active and not journaled yet: {}", fault.detail),
                ..fault
            })?;
            encode_reply(&event.lock)
        }
        None => match find_lock(router, &event.lock.latch_id).await? {
            Some(stored) => encode_reply(&decode_lock_event(&stored.document)?.lock),
            None => Err(contention_fault()),
        },
    }
}

/// Lifts a lock for an operator and replies with the lock as it was.
///
/// # Errors
/// `not_found` if no such lock is active; a lift that could not be journaled.
pub async fn lift_lock(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let request = decode_lift_request(&call.body)?;
    match journal_and_apply_lift(router, &request.latch_id, &request.actor, &request.reason).await? {
        Some(lock) => encode_reply(&lock),
        None => Err(Fault::for_field(
            FaultCode::NotFound,
            "latch_id",
            format!("{:?} is no active lock", quoted(&request.latch_id)),
        )),
    }
}

/// Checks that a lock's broker or symbol exists: with a mistyped name, an operator would lock nothing.
///
/// # Errors
/// If it does not exist.
fn check_scope_exists(router: &Router, scope: &LockScope) -> Result<(), Fault> {
    match scope {
        LockScope::Broker(broker) if !router.brokers.contains(broker) => Err(Fault::for_field(
            FaultCode::UnknownBroker,
            "scope.broker",
            format!("is {broker}, which this router does not have"),
        )),
        LockScope::Symbol(venue, symbol) | LockScope::AccountSymbol(_, venue, symbol)
            if router.limits().instruments.get(venue, symbol).is_none() =>
        {
            Err(Fault::for_field(
                FaultCode::UnsupportedPair,
                "scope.symbol",
                format!("is {symbol}, which {venue} does not trade"),
            ))
        }
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

/// Sets a lock in the store. Returns the document to journal, or `None` if a lock of its id is already active.
async fn store_lock(
    router: &Router,
    event: &LockEvent,
    generation: Option<u64>,
    breach: Option<(Mode, &LockScope)>,
    alert: Option<&WaitingAlert>,
) -> Result<Option<Bytes>, Fault> {
    let (document, lock_id) = (encode_lock_event(event)?, &event.lock.latch_id);
    let outcome = router
        .store
        .set_lock(lock_id, &document, generation, breach, alert)
        .await;
    match outcome.map_err(store_unavailable)? {
        SetLockOutcome::Set => {}
        // The reply to an earlier attempt of this very call may have been lost.
        SetLockOutcome::AlreadySet(stored) if stored == document => {}
        SetLockOutcome::AlreadySet(_) | SetLockOutcome::GenerationChanged => return Ok(None),
        SetLockOutcome::TooManyLocks => {
            let detail = "the maximum number of locks is active; lift locks that are no longer needed";
            return Err(Fault::new(FaultCode::StoreUnavailable, detail));
        }
    }
    stop_point::reach("lock_active");
    let LockEvent { actor, reason, .. } = event;
    tracing::warn!(lock_id, actor, reason, "locked");
    refresh_control(router).await;
    Ok(Some(document))
}

/// Journals a lift and applies it. Returns `None` if no such lock is active.
async fn journal_and_apply_lift(
    router: &Router,
    lock_id: &str,
    actor: &str,
    reason: &str,
) -> Result<Option<LockDocument>, Fault> {
    for _ in 0..MAX_ATTEMPTS {
        let Some(stored) = find_lock(router, lock_id).await? else {
            return Ok(None);
        };
        let lock = decode_lock_event(&stored.document)?.lock;
        let subject = locks_journal::lock_subject(&lock)?;
        let newest = latest_sequence(router, &subject).await?;
        apply_journaled_locks(router, None, newest).await?;
        match find_lock(router, lock_id).await? {
            // A lock is journaled before its lift.
            Some(current) if current.is_awaiting_journal => {
                append_unjournaled_lock(router, lock_id, &current.document).await?;
                continue;
            }
            Some(current) if current.document == stored.document => {}
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
        if let Some(sequence) = append_event(router, &subject, message_id, document, newest).await? {
            stop_point::reach("lift_journaled");
            apply_journaled_locks(router, None, sequence).await?;
            tracing::warn!(lock_id, actor, reason, "lifted");
            refresh_control(router).await;
            return Ok(Some(lock));
        }
    }
    Err(contention_fault())
}

async fn load_locks(router: &Router) -> Result<Vec<StoredLock>, Fault> {
    let stored = router.store.read_locks(None).await;
    Ok(stored.map_err(store_unavailable)?.locks)
}

async fn find_lock(router: &Router, lock_id: &str) -> Result<Option<StoredLock>, Fault> {
    Ok(load_locks(router).await?.into_iter().find(|one| one.lock_id == lock_id))
}

/// Refreshes this worker's copy; the other workers' copies follow at their next order.
async fn refresh_control(router: &Router) {
    if let Err(error) = router.control.refresh().await {
        tracing::debug!(%error, "this worker applies the lock at its next refresh");
    }
}
