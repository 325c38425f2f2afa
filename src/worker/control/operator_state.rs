//! The operator state: mode, trading state and limits. A change that tightens takes effect at once and is then
//! journaled; one that loosens, or does both, is journaled first (law 7 in docs/architecture.md). A halt cancels every
//! open order, too.

use bytes::Bytes;

use crate::bus::request::{BusReply, BusRequest};
use crate::domain::control::{EffectiveControls, OperatorOverrides};
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::control::operator_state::{OperatorState, OperatorStateChange, OperatorStateOutcome};
use crate::store::sums::ledgers::LedgerOwner;
use crate::wire::state::{
    EarlierChange, LastStateChange, RouterState, StateChange, StateEvent, decode_state_change, decode_state_get,
};
use crate::worker::control::account_days;
use crate::worker::control::kill_switch;
use crate::worker::control::kill_switch::HaltResult;
use crate::worker::control::operator_state_journal::{
    activate_journaled_change, append_if_latest_version, append_unjournaled_change,
};
use crate::worker::faults::{deadline_passed, store_unavailable};
use crate::worker::reply::{encode_json, encode_reply};
use crate::worker::router::Router;
use crate::worker::stop_point;

/// How often a change is tried because another change came first.
const MAX_CHANGE_ATTEMPTS: usize = 8;

/// Replies with the active state, and the day's totals of the accounts that the request names.
///
/// # Errors
/// An invalid request; if the store does not reply.
pub async fn get_state(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let accounts = decode_state_get(&call.body)?;
    let mut state = load_router_state(router).await?;
    state.accounts = account_days::load(router, accounts).await?;
    encode_reply(&state)
}

/// Changes the state and replies with the state after the change. A change that halts trading cancels every open order,
/// even if it could not be journaled.
///
/// # Errors
/// An invalid change, or one that could not be journaled.
pub async fn set_state(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let change = decode_state_change(&call.body)?;
    if change.values.mode == Some(Mode::Live) && !router.brokers.has_live() {
        let detail =
            "no broker has a live venue: set brokers.allow_live and brokers.binance_live; the mode is unchanged";
        return Err(Fault::new(FaultCode::ModeUnavailable, detail));
    }
    let deadline = router.default_deadlines.request_deadline(call);
    let state = apply_change(router, &change, deadline).await?;
    let EffectiveControls {
        mode,
        trading_state,
        daily_notional_limit,
        daily_loss_limit,
    } = effective_values(router, &state.values);
    tracing::warn!(
        actor = change.actor,
        reason = change.reason,
        version = state.version,
        "active now: mode {mode}, trading state {trading_state}, daily notional limit {daily_notional_limit}, daily \
         loss limit {daily_loss_limit}"
    );
    // If the journal is away, recovery journals the change later: a tightening is active all the same.
    let (journaled, halted) = tokio::join!(append_unjournaled_change(router), async {
        match change.values.trading_state {
            Some(TradingState::Halted) => kill_switch::cancel_all_open_orders(router, deadline).await.map(Some),
            _ => Ok(None),
        }
    });
    if let Err(error) = router.control.refresh().await {
        tracing::debug!(%error, "this worker applies the change at its next refresh");
    }
    let halted = halted.map_err(|fault| Fault {
        detail: format!(
            "trading is halted, and the orders that remain open could not be read: {}",
            fault.detail
        ),
        ..fault
    })?;
    journaled.map_err(|fault| not_journaled_fault(fault, halted.as_ref()))?;
    let mut reply = load_router_state(router).await?;
    if let Some(halted) = halted {
        reply.cancelled = Some(halted.cancelled);
        reply.remaining_total = Some(halted.remaining_total);
        reply.remaining = Some(halted.remaining);
    }
    encode_reply(&reply)
}

/// Applies a change and returns the state after it.
async fn apply_change(router: &Router, change: &StateChange, deadline: Timestamp) -> Result<OperatorState, Fault> {
    for _ in 0..MAX_CHANGE_ATTEMPTS {
        if Timestamp::now() >= deadline {
            return Err(deadline_passed(deadline));
        }
        let state = router.store.read_operator_state().await.map_err(store_unavailable)?;
        if let Some(changed) = try_change(router, &state, change).await? {
            return Ok(changed);
        }
    }
    Err(Fault::new(
        FaultCode::StoreUnavailable,
        "the state kept changing while this change was applied; try again",
    ))
}

/// Tries a change once. Returns `None` if another change came first.
async fn try_change(
    router: &Router,
    state: &OperatorState,
    change: &StateChange,
) -> Result<Option<OperatorState>, Fault> {
    let values = state.values.with_change(change.values);
    let loosens = effective_values(router, &values).is_looser_than(&effective_values(router, &state.values));
    if loosens && state.journaled_version < state.version {
        // An active change that is not journaled yet is journaled first.
        append_unjournaled_change(router).await?;
        return Ok(None);
    }
    let event = StateEvent {
        version: state.version + 1,
        mode: None,
        trading_state: None,
        daily_notional_limit: None,
        daily_loss_limit: None,
        actor: change.actor.clone(),
        reason: change.reason.clone(),
        timestamp: Timestamp::now(),
        earlier: unjournaled_changes(state),
    };
    let document = encode_json(&event.with_operator_values(values))?.into();
    let set = OperatorStateChange {
        base_version: state.version,
        version: state.version + 1,
        values,
        document,
        is_journaled: loosens,
    };
    if loosens {
        if !append_if_latest_version(router, set.version, set.document.clone()).await? {
            // Another change is journaled: it takes effect first.
            activate_journaled_change(router).await?;
            return Ok(None);
        }
        stop_point::reach("change_journaled");
    }
    let outcome = router.store.set_operator_state(&set).await;
    let changed = match outcome.map_err(store_unavailable)? {
        OperatorStateOutcome::Changed(changed) => changed,
        OperatorStateOutcome::Superseded(_) if !loosens => return Ok(None),
        // A loosening is never tried again over a state that its caller has not seen.
        OperatorStateOutcome::Superseded(current) => return resolve_superseded(&current, &set.document),
    };
    stop_point::reach("change_active");
    Ok(Some(changed))
}

/// Returns the actors of active changes that are not journaled: the next event names them, too.
fn unjournaled_changes(state: &OperatorState) -> Vec<EarlierChange> {
    if state.journaled_version >= state.version {
        return Vec::new();
    }
    serde_json::from_slice::<StateEvent>(&state.document)
        .map_or_else(|_| Vec::new(), |event| event.to_earlier_changes())
}

/// Resolves a journaled loosening that found another state: another worker has applied it, or a later change.
///
/// # Errors
/// If a later change is active.
fn resolve_superseded(current: &OperatorState, document: &Bytes) -> Result<Option<OperatorState>, Fault> {
    if current.document == *document {
        return Ok(Some(current.clone()));
    }
    let detail = "another change of the state came first; read the state and set it again if it is still needed";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

fn not_journaled_fault(fault: Fault, halted: Option<&HaltResult>) -> Fault {
    let cancels = halted.map_or_else(String::new, |halted| {
        format!(
            "; {} orders were cancelled and {} remain",
            halted.cancelled, halted.remaining_total
        )
    });
    let detail = format!("the change is active and not journaled yet: {}{cancels}", fault.detail);
    Fault { detail, ..fault }
}

/// Returns the values that apply under these overrides.
fn effective_values(router: &Router, values: &OperatorOverrides) -> EffectiveControls {
    values.resolve(router.values_from_settings())
}

async fn load_router_state(router: &Router) -> Result<RouterState, Fault> {
    let control = router.control.refresh().await.map_err(store_unavailable)?;
    let day = match router.trading_day.refresh().await {
        Ok((_, date, total)) => Some((date, total)),
        Err(fault) => {
            tracing::debug!(%fault, "the day's profit and loss could not be read");
            None
        }
    };
    let values = OperatorOverrides {
        mode: Some(control.mode),
        trading_state: Some(control.trading_state),
        daily_notional_limit: control.daily_notional_limit,
        daily_loss_limit: control.daily_loss_limit,
    };
    let effective = effective_values(router, &values);
    let pnl_date = day.as_ref().map(|(date, _)| *date);
    let trading_date = control
        .trading_date
        .or(pnl_date)
        .unwrap_or_else(|| Timestamp::now().utc_date());
    let ledger = router.store.read_ledger(LedgerOwner::Total(control.mode)).await;
    let routed = ledger.map_err(store_unavailable)?.notional_on(trading_date);
    Ok(RouterState {
        mode: effective.mode,
        trading_state: effective.trading_state,
        daily_notional_limit: effective.daily_notional_limit.decimal(),
        notional_routed: routed.decimal(),
        daily_loss_limit: effective.daily_loss_limit.decimal(),
        daily_pnl: day
            .filter(|(_, total)| total.day.unpriced.is_empty())
            .map(|(_, total)| total.day.profit.decimal()),
        trading_date,
        version: control.version,
        last_change: load_last_change(router).await?,
        accounts: Vec::new(),
        cancelled: None,
        remaining: None,
        remaining_total: None,
    })
}

/// Returns the last change of the state; `None` before the first one.
async fn load_last_change(router: &Router) -> Result<Option<LastStateChange>, Fault> {
    let state = router.store.read_operator_state().await.map_err(store_unavailable)?;
    let event = serde_json::from_slice::<StateEvent>(&state.document).ok();
    Ok(event.map(|event| LastStateChange {
        actor: event.actor,
        reason: event.reason,
        timestamp: event.timestamp,
    }))
}
