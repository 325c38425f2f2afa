//! Fired dead man's switches: the account's openings are locked, then its open orders are cancelled until none is left. The
//! store lets a switch fire, by its clock; any worker takes a turn at one that has fired, and where it dies another continues
//! after the turn. While a switch is not done, its state is in the store and the armed switch on the journal: after a loss of
//! the store it fires again.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::domain::id::{AccountId, BrokerId};
use crate::domain::reason::ReasonCode;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::store::control::dead_man_switches::FiredSwitch;
use crate::store::limits::MAX_EXPIRED_SWITCHES;
use crate::wire::heartbeat::{HeartbeatEvent, SwitchChange};
use crate::worker::control::dead_man_switch;
use crate::worker::control::dead_man_switch::{RULE_ID, fired_lock, fired_reason};
use crate::worker::control::locks::ROUTER_ACTOR;
use crate::worker::control::loss_locks::{LockRule, set_and_publish};
use crate::worker::control::switch_journal::journal_and_apply;
use crate::worker::faults::store_unavailable;
use crate::worker::orders::cancel_sweep::{SweepTally, cancel_orders, retry_until_sent};
use crate::worker::orders::open_orders::stream_open_orders;
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::idempotent_replay::IN_FLIGHT_POLL_INTERVAL;

/// The pause between two looks at the switches.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// The pause between two looks at the accounts whose settings arm a switch.
const SETTINGS_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause between two looks, of any worker, after which a switch fires without its whole time again.
const LONGEST_GAP: Duration = Duration::from_secs(2);
/// How many calls of the store one look may make for switches whose time is over: beyond it the next look continues.
const MAX_EXPIRY_CALLS: usize = 16;
/// How many accounts are locked at a time.
const LOCK_CONCURRENCY: usize = 32;
/// How many accounts of fired switches one worker handles at a time.
const MAX_ACCOUNTS_IN_FLIGHT: usize = 256;
/// How long the worker that lets a switch fire has to lock its account, before another may.
const LOCK_TURN: Duration = Duration::from_secs(1);
/// How long a worker has the turn at a fired switch: longer than its cancels take.
const TURN: Duration = Duration::from_secs(5);
/// The longest that the cancels of one turn take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(4);
/// The pause before cancels are sent again that a broker has refused or not answered.
const REFUSED_RETRY_DELAY: Duration = Duration::from_millis(500);

const LOCK_RULE: LockRule = LockRule {
    id: RULE_ID,
    code: ReasonCode::ReduceOnly,
};

/// Fires the switches whose time is over, until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    tokio::join!(
        lock_expired(&router, &stop),
        cancel_fired(&router, &stop),
        arm_by_settings(&router, &stop),
    );
}

/// Arms the switches that the settings of accounts ask for.
async fn arm_by_settings(router: &Router, stop: &CancellationToken) {
    let mut runs = repeat_every(SETTINGS_INTERVAL, stop);
    while runs.next().await {
        if let Err(fault) = dead_man_switch::arm_by_settings(router).await {
            tracing::debug!(%fault, "a dead man's switch could not be armed by the settings yet; retrying");
        }
    }
}

/// Locks the accounts of switches that fire. No account waits for the cancels of another.
async fn lock_expired(router: &Router, stop: &CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, stop);
    while runs.next().await {
        for _ in 0..MAX_EXPIRY_CALLS {
            let Ok(expired) = router
                .store
                .expire_switches(millis(LONGEST_GAP), millis(LOCK_TURN))
                .await
            else {
                break;
            };
            let count = expired.len();
            if count > 0 {
                stop_point::reach("switch_fired");
            }
            let locked = stream::iter(expired).map(|switch| async move {
                let FiredSwitch {
                    account_id, timeout_ms, ..
                } = &switch;
                tracing::warn!(%account_id, timeout_ms, "dead man's switch fired: locking the account");
                lock_account(router, &switch, true).await;
            });
            locked.buffer_unordered(LOCK_CONCURRENCY).for_each(|()| async {}).await;
            if count < MAX_EXPIRED_SWITCHES {
                break;
            }
        }
    }
}

/// Locks the openings of an account; `is_turn_next` makes its next turn due then. Where it fails, the next turn tries again.
/// Reports whether it did.
async fn lock_account(router: &Router, switch: &FiredSwitch, is_turn_next: bool) -> bool {
    let account_id = &switch.account_id;
    let locked = try_lock_account(router, switch, is_turn_next).await;
    if let Err(fault) = &locked {
        log_at_intervals!(error, %account_id, %fault, "the account of a dead man's switch is not locked yet; retrying");
    }
    locked.is_ok()
}

async fn try_lock_account(router: &Router, switch: &FiredSwitch, is_turn_next: bool) -> Result<(), Fault> {
    let control = router.control.refresh().await.map_err(store_unavailable)?;
    let lock = fired_lock(&control, &switch.account_id, switch.timeout_ms);
    set_and_publish(router, lock, LOCK_RULE, None).await?;
    stop_point::reach("switch_locked");
    let marked = router.store.mark_switch_locked(&switch.account_id, is_turn_next).await;
    marked.map_err(store_unavailable)
}

/// Cancels the orders of accounts whose switches have fired, a bounded number of accounts at a time.
async fn cancel_fired(router: &Router, stop: &CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
            _ = ticks.tick() => {
                let room = MAX_ACCOUNTS_IN_FLIGHT - in_flight.len();
                if room > 0 && let Ok(switches) = router.store.take_switch_turns(millis(TURN), room).await {
                    in_flight.extend(switches.into_iter().map(|switch| end_switch(router, switch)));
                }
            }
        }
    }
}

/// Locks the account if it is not, cancels its open orders, and ends the switch once none is left.
async fn end_switch(router: &Router, switch: FiredSwitch) {
    let account_id = &switch.account_id;
    let is_locked = switch.is_locked || lock_account(router, &switch, false).await;
    cancel_account(router, account_id).await;
    stop_point::reach("switch_cancelled");
    if !is_locked {
        return;
    }
    match try_end_switch(router, &switch).await {
        Ok(0) => tracing::warn!(%account_id, "no order of the account of a fired dead man's switch is open any more"),
        Ok(open) => log_at_intervals!(
            warn,
            %account_id, open,
            "orders of the account of a fired dead man's switch are still open; retrying"
        ),
        Err(fault) => {
            log_at_intervals!(warn, %account_id, %fault, "a fired dead man's switch is not done yet; retrying")
        }
    }
}

/// Ends a switch whose account is locked and has no open order. Returns how many orders are open.
async fn try_end_switch(router: &Router, switch: &FiredSwitch) -> Result<u64, Fault> {
    let account_id = &switch.account_id;
    let of_brokers: Vec<(BrokerId, AccountId)> = router
        .brokers
        .ids()
        .map(|broker| (broker.clone(), account_id.clone()))
        .collect();
    let counts = router.store.count_open_orders(&of_brokers).await;
    let open = counts.map_err(store_unavailable)?.into_iter().sum();
    if open > 0 {
        return Ok(open);
    }
    let event = HeartbeatEvent {
        event: SwitchChange::Fired,
        account_id: account_id.to_string(),
        timeout_ms: Some(switch.timeout_ms),
        actor: ROUTER_ACTOR.to_owned(),
        reason: fired_reason(switch.timeout_ms),
        timestamp: Timestamp::now(),
    };
    journal_and_apply(router, account_id, &event).await?;
    Ok(0)
}

/// Cancels every open order of an account, and repeats until none is open or the time of the turn is over. No broker waits
/// for another.
async fn cancel_account(router: &Router, account_id: &AccountId) {
    let end = Instant::now() + CANCEL_TIMEOUT;
    let cancels = router.brokers.ids().map(async |broker| {
        if let Err(fault) = cancel_at(router, broker, account_id, end).await {
            log_at_intervals!(warn, %broker, %account_id, %fault, "not every open order could be read; retrying");
        }
    });
    join_all(cancels).await;
}

async fn cancel_at(router: &Router, broker: &BrokerId, account_id: &AccountId, end: Instant) -> Result<(), Fault> {
    let mut tally = SweepTally::default();
    loop {
        let mut has_open = false;
        let orders = stream_open_orders(router, broker, account_id).inspect(|order| has_open |= order.is_ok());
        cancel_orders(router, broker, orders, end, &mut tally).await?;
        retry_until_sent(router, broker, (end, end), &mut tally).await?;
        // A venue that has refused a cancel is not asked again at once.
        let pause = match tally.left() {
            0 => IN_FLIGHT_POLL_INTERVAL,
            _ => REFUSED_RETRY_DELAY,
        };
        if !has_open || Instant::now() + pause >= end {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
