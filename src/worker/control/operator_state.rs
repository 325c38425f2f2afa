//! The shared state an operator sets. What tightens works at once and is then journaled; what loosens is journaled
//! first, and so is a change that does both. Halting cancels every open order, too.

use bytes::Bytes;

use crate::brokers::adapter::Effects;
use crate::bus::request::{BusReply, BusRequest};
use crate::domain::control::{EffectiveControls, OperatorOverrides};
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::control::operator_state::{OperatorState, OperatorStateChange, OperatorStateOutcome};
use crate::wire::brokers::{BrokerDetail, BrokerList};
use crate::wire::state::{EarlierChange, RouterState, StateChange, StateEvent, decode_state_change};
use crate::worker::control::kill_switch;
use crate::worker::control::kill_switch::HaltResult;
use crate::worker::control::operator_state_journal::{
    activate_journaled_change, append_if_latest_version, append_unjournaled_change,
};
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::claim::store_unavailable;

/// How often a change is tried again that another change came before.
pub(in crate::worker) const MAX_CHANGE_ATTEMPTS: usize = 8;

/// Answers with the state in force.
///
/// # Errors
/// When the store cannot be asked.
pub async fn get_state(router: &Router) -> Result<BusReply, Fault> {
    encode_reply(&load_router_state(router).await?)
}

/// Changes the state and answers with what is in force then. A change that halts trading cancels every open order, also
/// where it could not be journaled.
///
/// # Errors
/// A change that is not whole, or one that could not be journaled.
pub async fn set_state(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let change = decode_state_change(&call.body)?;
    if change.values.mode == Some(Mode::Live) && !has_live_adapter(router) {
        let detail = "no broker has an adapter for live trading: the mode stays as it is";
        return Err(Fault::new(FaultCode::ModeUnavailable, detail));
    }
    let deadline = call
        .deadline
        .unwrap_or_else(|| call.received_at.saturating_add(router.default_deadlines.request));
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
        "in force now: mode {mode}, trading state {trading_state}, daily notional limit {daily_notional_limit}, daily \
         loss limit {daily_loss_limit}"
    );
    // Where the journal is away, recovery goes on trying: what tightens works all the same.
    let (journaled, halted) = tokio::join!(append_unjournaled_change(router), async {
        match change.values.trading_state {
            Some(TradingState::Halted) => kill_switch::cancel_all_open_orders(router, deadline).await.map(Some),
            _ => Ok(None),
        }
    });
    if let Err(error) = router.control.refresh().await {
        tracing::debug!(%error, "this worker learns of the change at its next look");
    }
    let halted = halted.map_err(|fault| Fault {
        detail: format!(
            "trading is halted, and what remains open cannot be told: {}",
            fault.detail
        ),
        ..fault
    })?;
    journaled.map_err(|fault| not_journaled_fault(fault, halted.as_ref()))?;
    let mut answer = load_router_state(router).await?;
    if let Some(halted) = halted {
        answer.cancelled = Some(halted.cancelled);
        answer.remaining_total = Some(halted.remaining_total);
        answer.remaining = Some(halted.remaining);
    }
    encode_reply(&answer)
}

/// Puts a change in force; returns the state it made.
async fn apply_change(router: &Router, change: &StateChange, deadline: Timestamp) -> Result<OperatorState, Fault> {
    for _ in 0..MAX_CHANGE_ATTEMPTS {
        if Timestamp::now() >= deadline {
            return Err(crate::worker::submission::admission::expired_fault(deadline));
        }
        let state = router
            .store
            .read_operator_state()
            .await
            .map_err(|error| store_unavailable(&error))?;
        if let Some(changed) = try_change(router, &state, change).await? {
            return Ok(changed);
        }
    }
    Err(Fault::new(
        FaultCode::StoreUnavailable,
        "the state changes faster than it can be set; try again",
    ))
}

/// Tries one change; `None` when another came first.
async fn try_change(
    router: &Router,
    state: &OperatorState,
    change: &StateChange,
) -> Result<Option<OperatorState>, Fault> {
    let values = state.values.with_change(change.values);
    let loosens = effective_values(router, &values).is_looser_than(&effective_values(router, &state.values));
    if loosens && state.journaled_version < state.version {
        // A change that works and is not on the journal yet goes there first.
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
    let document = encode_state_event(&event.with_operator_values(values))?;
    let set = OperatorStateChange {
        base_version: state.version,
        version: state.version + 1,
        values,
        document,
        is_journaled: loosens,
    };
    if loosens {
        if !append_if_latest_version(router, set.version, set.document.clone()).await? {
            // Another change is journaled: it comes into force first.
            activate_journaled_change(router).await?;
            return Ok(None);
        }
        stop_point::reach("change_journaled");
    }
    let outcome = router.store.set_operator_state(&set).await;
    let changed = match outcome.map_err(|error| store_unavailable(&error))? {
        OperatorStateOutcome::Changed(changed) => changed,
        OperatorStateOutcome::Superseded(_) if !loosens => return Ok(None),
        // What loosens is never tried again over a state its caller has not seen.
        OperatorStateOutcome::Superseded(now) => return resolve_superseded(&now, &set.document),
    };
    stop_point::reach("change_in_force");
    Ok(Some(changed))
}

/// Returns who made the changes that are in force and not on the journal: the next event tells of them, too.
fn unjournaled_changes(state: &OperatorState) -> Vec<EarlierChange> {
    if state.journaled_version >= state.version {
        return Vec::new();
    }
    serde_json::from_slice::<StateEvent>(&state.document)
        .map_or_else(|_| Vec::new(), |event| event.to_earlier_changes())
}

/// A journaled loosening that found another state: somebody else may have put it in force, or gone past it.
fn resolve_superseded(now: &OperatorState, document: &Bytes) -> Result<Option<OperatorState>, Fault> {
    if now.document == *document {
        return Ok(Some(now.clone()));
    }
    let detail = "the state was changed by somebody else meanwhile; look at it and set it again if it is still wanted";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

fn not_journaled_fault(fault: Fault, halted: Option<&HaltResult>) -> Fault {
    let cancels = halted.map_or_else(String::new, |halted| {
        format!(
            "; {} orders were cancelled and {} remain",
            halted.cancelled, halted.remaining_total
        )
    });
    let detail = format!(
        "the change works, and is not on the journal yet: {}{cancels}",
        fault.detail
    );
    Fault { detail, ..fault }
}

/// Whether any broker's orders leave this machine.
fn has_live_adapter(router: &Router) -> bool {
    let mut brokers = router.brokers.values();
    brokers.any(|broker| broker.capabilities().effects == Effects::AtVenue)
}

/// Returns what is in force where operators have set these values.
fn effective_values(router: &Router, values: &OperatorOverrides) -> EffectiveControls {
    values.resolve(values_from_settings(router))
}

/// Returns what is in force where nobody has set anything.
pub(in crate::worker) fn values_from_settings(router: &Router) -> EffectiveControls {
    EffectiveControls {
        mode: Mode::Paper,
        trading_state: TradingState::Active,
        daily_notional_limit: router.limits.daily_notional,
        daily_loss_limit: router.limits.daily_loss,
    }
}

async fn load_router_state(router: &Router) -> Result<RouterState, Fault> {
    let control = router
        .control
        .refresh()
        .await
        .map_err(|error| store_unavailable(&error))?;
    let figures = match router.trading_day.load_pnl().await {
        Ok((_, figures)) => Some(figures),
        Err(fault) => {
            tracing::debug!(%fault, "the day's profit or loss is not known");
            None
        }
    };
    let values = OperatorOverrides {
        mode: Some(control.mode),
        trading_state: Some(control.trading_state),
        daily_notional_limit: control.daily_notional_limit,
        daily_loss_limit: control.daily_loss_limit,
    };
    let in_force = effective_values(router, &values);
    let of_day = figures.as_ref().map(|figures| figures.trading_date);
    let trading_date = control
        .trading_date
        .or(of_day)
        .unwrap_or_else(|| Timestamp::now().utc_date());
    let routed = router.store.read_notional_routed(control.mode, trading_date).await;
    Ok(RouterState {
        mode: in_force.mode,
        trading_state: in_force.trading_state,
        daily_notional_limit: in_force.daily_notional_limit.decimal(),
        notional_routed: routed.map_err(|error| store_unavailable(&error))?.decimal(),
        daily_loss_limit: in_force.daily_loss_limit.decimal(),
        daily_pnl: figures
            .and_then(|figures| figures.total)
            .map(crate::domain::money::Micros::decimal),
        trading_date,
        version: control.version,
        cancelled: None,
        remaining: None,
        remaining_total: None,
    })
}

/// Returns a change as it stands on the journal.
///
/// # Errors
/// Never for what can be told of a change.
pub(in crate::worker) fn encode_state_event(event: &StateEvent) -> Result<Bytes, Fault> {
    let document =
        serde_json::to_vec(event).map_err(|error| Fault::new(FaultCode::PersistenceFailed, error.to_string()))?;
    Ok(document.into())
}

/// Answers with the brokers and what they can do.
///
/// # Errors
/// None: everything it tells is known to this worker.
pub fn list_brokers(router: &Router) -> Result<BusReply, Fault> {
    let detail = |(broker, handle): (&crate::domain::id::BrokerId, &crate::brokers::handle::BrokerHandle)| {
        let capabilities = handle.capabilities();
        BrokerDetail {
            broker: broker.to_string(),
            venues: capabilities.venues.iter().map(ToString::to_string).collect(),
            symbols: router
                .instruments
                .for_broker(broker)
                .map(|one| one.symbol.to_string())
                .collect(),
            times_in_force: capabilities.times_in_force.clone(),
        }
    };
    encode_reply(&BrokerList {
        brokers: router.brokers.keys().map(ToString::to_string).collect(),
        details: router.brokers.iter().map(detail).collect(),
    })
}

/// Returns an answer of this body.
///
/// # Errors
/// Never for the answers of this crate, whose JSON holds strings and exact numbers only.
pub(in crate::worker) fn encode_reply<T: serde::Serialize>(answer: &T) -> Result<BusReply, Fault> {
    let body =
        serde_json::to_vec(answer).map_err(|error| Fault::new(FaultCode::PersistenceFailed, error.to_string()))?;
    Ok(BusReply {
        body,
        journal_sequence: None,
        is_replay: false,
    })
}
