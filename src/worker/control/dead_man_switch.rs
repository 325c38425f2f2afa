//! Heartbeats: a dead man's switch is armed by the first one, started again by each, and disarmed on request. Arming and a
//! shorter time take effect at once and are then journaled; disarming and a longer time are journaled first (law 7 in
//! docs/architecture.md). [`switch_sweep`](crate::worker::control::switch_sweep) fires the switches.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::bus::request::{BusReply, BusRequest};
use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::metadata::Metadata;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::control::dead_man_switches::{ArmOutcome, ArmedSwitch, HeartbeatOutcome};
use crate::store::limits::MAX_DEAD_MAN_SWITCHES;
use crate::wire::heartbeat::{Heartbeat, HeartbeatAnswer, HeartbeatEvent, SwitchChange, SwitchState, decode_heartbeat};
use crate::worker::control::locks::ROUTER_ACTOR;
use crate::worker::control::switch_journal::{
    MAX_ATTEMPTS, append_unjournaled_switch, contention_fault, journal_and_apply,
};
use crate::worker::faults::{deadline_passed, store_unavailable};
use crate::worker::reply::{encode_json, encode_reply};
use crate::worker::router::Router;
use crate::worker::stop_point;

/// The id of the rule that a fired switch locks its account by.
pub(super) const RULE_ID: &str = "dead_man_switch";
/// The reason of a switch that the settings of its account arm.
const SETTINGS_ARM_REASON: &str = "heartbeat_timeout_ms of the account's settings, and an order is open";
/// The reason of a heartbeat that arms a switch and has none.
const DEFAULT_ARM_REASON: &str = "a heartbeat";

/// Takes a heartbeat, or disarms the switch of the account, and replies with its state.
///
/// # Errors
/// An invalid request; store or journal do not reply: a switch may then be armed and not journaled yet, which the fault says.
pub async fn take_heartbeat(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let account_id = AccountId::new(call.account.as_deref().unwrap_or_default())
        .map_err(|rule| Fault::for_field(FaultCode::InvalidField, "account_id", rule))?;
    let deadline = router.default_deadlines.request_deadline(call);
    if deadline <= Timestamp::now() {
        return Err(deadline_passed(deadline));
    }
    let by_account = || format!("account {account_id}");
    let state = match decode_heartbeat(&call.body)? {
        Heartbeat::Arm {
            timeout_ms,
            actor,
            reason,
        } => {
            let event = HeartbeatEvent {
                event: SwitchChange::Armed,
                account_id: account_id.to_string(),
                timeout_ms: Some(timeout_ms),
                actor: actor.unwrap_or_else(by_account),
                reason: reason.unwrap_or_else(|| DEFAULT_ARM_REASON.to_owned()),
                timestamp: Timestamp::now(),
            };
            arm(router, &account_id, timeout_ms, &event).await?
        }
        Heartbeat::Disarm { actor, reason } => {
            let event = HeartbeatEvent {
                event: SwitchChange::Disarmed,
                account_id: account_id.to_string(),
                timeout_ms: None,
                actor: actor.unwrap_or_else(by_account),
                reason,
                timestamp: Timestamp::now(),
            };
            disarm(router, &account_id, &event).await?
        }
    };
    encode_reply(&answer(router, &account_id, state))
}

/// Arms the switches that the settings ask for: of accounts with an open order and without a switch.
///
/// # Errors
/// If the store does not reply; the first switch that could not be armed, after the others have been tried.
pub(super) async fn arm_by_settings(router: &Router) -> Result<(), Fault> {
    let limits = router.limits();
    if limits.heartbeat_timeouts_ms.is_empty() {
        return Ok(());
    }
    let sets: Vec<(BrokerId, AccountId)> = limits
        .heartbeat_timeouts_ms
        .keys()
        .flat_map(|account| router.brokers.ids().map(|broker| (broker.clone(), account.clone())))
        .collect();
    let counts = router.store.count_open_orders(&sets).await.map_err(store_unavailable)?;
    let counted = sets.into_iter().zip(counts);
    let with_orders: BTreeSet<AccountId> = counted
        .filter_map(|((_, account), count)| (count > 0).then_some(account))
        .collect();
    let with_orders: Vec<AccountId> = with_orders.into_iter().collect();
    let without = router.store.list_accounts_without_switch(&with_orders).await;
    let mut result = Ok(());
    for account_id in without.map_err(store_unavailable)? {
        let Some(timeout_ms) = limits.heartbeat_timeouts_ms.get(&account_id) else {
            continue;
        };
        let event = HeartbeatEvent {
            event: SwitchChange::Armed,
            account_id: account_id.to_string(),
            timeout_ms: Some(*timeout_ms),
            actor: ROUTER_ACTOR.to_owned(),
            reason: SETTINGS_ARM_REASON.to_owned(),
            timestamp: Timestamp::now(),
        };
        result = result.and(tighten(router, &account_id, *timeout_ms, &event).await.map(drop));
    }
    result
}

/// The state of a switch; the time of an armed one in milliseconds.
enum SwitchStatus {
    Armed(u64, ArmedSwitch),
    Disarmed,
    Fired,
}

/// Restarts the account's switch. Arms it, or changes its time, where it has another one.
async fn arm(
    router: &Router,
    account_id: &AccountId,
    timeout_ms: u64,
    event: &HeartbeatEvent,
) -> Result<SwitchStatus, Fault> {
    for _ in 0..MAX_ATTEMPTS {
        let outcome = router.store.take_heartbeat(account_id, timeout_ms).await;
        match outcome.map_err(store_unavailable)? {
            HeartbeatOutcome::Armed(armed) => {
                if armed.is_awaiting_journal {
                    journal_armed(router, account_id).await?;
                }
                return Ok(SwitchStatus::Armed(timeout_ms, armed));
            }
            HeartbeatOutcome::Fired => return Ok(SwitchStatus::Fired),
            HeartbeatOutcome::Disarmed | HeartbeatOutcome::Tighter => {
                if let Some(status) = tighten(router, account_id, timeout_ms, event).await? {
                    return Ok(status);
                }
            }
            HeartbeatOutcome::Looser => journal_and_apply(router, account_id, event).await.map(drop)?,
        }
    }
    Err(contention_fault())
}

/// Arms a switch, or shortens its time, and journals it. Returns `None` where another caller came first.
async fn tighten(
    router: &Router,
    account_id: &AccountId,
    timeout_ms: u64,
    event: &HeartbeatEvent,
) -> Result<Option<SwitchStatus>, Fault> {
    let document: Bytes = encode_json(event)?.into();
    let outcome = router.store.arm_switch(account_id, timeout_ms, &document).await;
    match outcome.map_err(store_unavailable)? {
        ArmOutcome::Armed(armed) => {
            let HeartbeatEvent { actor, reason, .. } = event;
            tracing::info!(%account_id, timeout_ms, actor, reason, "dead man's switch armed");
            stop_point::reach("switch_armed");
            journal_armed(router, account_id).await?;
            Ok(Some(SwitchStatus::Armed(timeout_ms, armed)))
        }
        ArmOutcome::ArmedByOther => Ok(None),
        ArmOutcome::Fired => Ok(Some(SwitchStatus::Fired)),
        ArmOutcome::TooManySwitches => Err(Fault::new(
            FaultCode::StoreUnavailable,
            format!(
                "{MAX_DEAD_MAN_SWITCHES} dead man's switches are armed, which is the maximum: this one is not; disarm those \
                 that are no longer needed"
            ),
        )),
    }
}

async fn journal_armed(router: &Router, account_id: &AccountId) -> Result<(), Fault> {
    let appended = append_unjournaled_switch(router, account_id).await;
    appended.map_err(|fault| Fault {
        detail: format!("the switch is armed and not journaled yet: {}", fault.detail),
        ..fault
    })
}

async fn disarm(router: &Router, account_id: &AccountId, event: &HeartbeatEvent) -> Result<SwitchStatus, Fault> {
    let found = router.store.find_switch(account_id).await.map_err(store_unavailable)?;
    if found.is_some_and(|switch| switch.has_fired) {
        return Ok(SwitchStatus::Fired);
    }
    if journal_and_apply(router, account_id, event).await? {
        let HeartbeatEvent { actor, reason, .. } = event;
        tracing::info!(%account_id, actor, reason, "dead man's switch disarmed");
    }
    Ok(SwitchStatus::Disarmed)
}

fn answer(router: &Router, account_id: &AccountId, status: SwitchStatus) -> HeartbeatAnswer {
    let (state, armed) = match status {
        SwitchStatus::Armed(timeout_ms, armed) => (SwitchState::Armed, Some((timeout_ms, armed.expires_at))),
        SwitchStatus::Disarmed => (SwitchState::Disarmed, None),
        SwitchStatus::Fired => (SwitchState::Fired, None),
    };
    let control = router.control.current();
    let lock_id = Lock::compose_id(control.mode, &LockScope::Account(account_id.clone()), RULE_ID);
    let is_locked = control.locks.iter().any(|lock| lock.lock_id == lock_id);
    HeartbeatAnswer {
        account_id: account_id.to_string(),
        state,
        timeout_ms: armed.map(|(timeout_ms, _)| timeout_ms),
        expires_at: armed.map(|(_, expires_at)| expires_at),
        latch_id: is_locked.then(|| lock_id.to_string()),
    }
}

/// Returns the lock of an account whose switch has fired.
pub(super) fn fired_lock(control: &ControlState, account_id: &AccountId, timeout_ms: u64) -> Lock {
    let scope = LockScope::Account(account_id.clone());
    Lock {
        lock_id: Lock::compose_id(control.mode, &scope, RULE_ID),
        scope,
        mode: control.mode,
        rule_id: RULE_ID.into(),
        message: fired_reason(timeout_ms),
        metadata: Metadata::new().with("timeout_ms", i64::try_from(timeout_ms).unwrap_or(i64::MAX)),
        locked_at: Timestamp::now(),
        trading_date: control.trading_date,
    }
}

/// Returns the reason of what a fired switch does.
pub(super) fn fired_reason(timeout_ms: u64) -> String {
    format!("the account sent no heartbeat for {timeout_ms} ms")
}
