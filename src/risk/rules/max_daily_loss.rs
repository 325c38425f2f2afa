//! `max_daily_loss`: the largest loss of a trading day, per account and over all accounts, including the expected losses
//! of open orders. At the limit only reductions pass. A realised breach sets a lock on the account, or on everything,
//! until an operator lifts it.

use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::daily_pnl::ProfitView;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::metadata::Metadata;
use crate::domain::money::{Micros, Rounding};
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::risk::cap::{Cap, CapBound, CapMeasure, CapReadings, CapUnit};
use crate::risk::evaluation::Evaluation;
use crate::risk::limits::RiskLimits;
use crate::risk::rule_input::RuleInput;

/// The rule's id.
pub const ID: &str = "max_daily_loss";
/// The loss of all accounts, in messages.
pub(in crate::risk) const TOTAL: &str =
    "the loss of the day over all accounts with the expected losses of all open orders";
/// The loss of an account, in messages.
pub(in crate::risk) const ACCOUNT: &str = "the account's loss of the day with its open orders' expected losses";
/// The loss of an account by the caller's values, in messages.
pub(in crate::risk) const BY_CALLER: &str =
    "the account's loss as the caller reports it, with its open orders' expected losses";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let limit = account_loss_limit(input.control, input.limits, &input.intent.account_id);
    let view = &input.daily_pnl.account;
    if !view.day.unpriced.is_empty() {
        evaluation.add_opening_lock(unpriced_signal(&view.day.unpriced));
    }
    evaluation.add_cap(daily_loss_cap(
        input,
        ("account", ACCOUNT),
        CapMeasure::AccountLoss,
        view.loss_before_fills(),
        limit,
    ));
    if let Some(loss) = input.caller_reported_loss() {
        let name = ("account_by_caller", BY_CALLER);
        let loss = loss.to_micros(Rounding::Up);
        evaluation.add_cap(daily_loss_cap(input, name, CapMeasure::AccountOpenLoss, loss, limit));
    }
    evaluation.add_cap(daily_loss_cap(
        input,
        ("", TOTAL),
        CapMeasure::TotalLoss,
        input.daily_pnl.total.loss_before_fills(),
        global_loss_limit(input.control, input.limits),
    ));
}

/// Returns a cap on the sum of a loss and the expected losses of open orders.
fn daily_loss_cap(
    input: &RuleInput<'_>,
    (label, description): (&'static str, &'static str),
    measure: CapMeasure,
    loss: i64,
    limit: Micros,
) -> Cap {
    let reservation = input.reservation;
    Cap {
        rule_id: ID,
        label,
        code: ReasonCode::DailyLossExceeded,
        measure,
        delta: i128::from(reservation.expected_loss.units()) + i128::from(reservation.price_loss.units()),
        offset: loss.into(),
        limit: limit.units().into(),
        bound: CapBound::Exclusive,
        unit: CapUnit::Micros,
        description,
        allows_reductions: true,
    }
}

/// Returns the lock of positions without a price. It is a refusal, not a denial: they may have a price a moment later.
fn unpriced_signal(unpriced: &[(VenueId, Symbol)]) -> RuleSignal {
    let names: Vec<String> = unpriced
        .iter()
        .map(|(venue, symbol)| format!("{symbol} at {venue}"))
        .collect();
    let names = names.join(", ");
    RuleSignal::lock(
        ID,
        ReasonCode::ReferencePriceMissing,
        format!("the account's profit of the day is unknown: there is no price of {names}; only reductions pass"),
        Metadata::new().with("unpriced", names),
    )
}

/// Returns the locks of losses that have reached their limits by fills and are not locked yet. A reduction passes.
pub(in crate::risk) fn breach_signals(readings: &CapReadings) -> impl Iterator<Item = RuleSignal> {
    let breaches = [
        ("the account's", readings.account_breach),
        ("the total", readings.total_breach),
    ];
    let is_reduction = readings.is_reduction;
    let found = breaches.into_iter().filter_map(|(owner, loss)| Some((owner, loss?)));
    found.filter(move |_| !is_reduction).map(|(owner, loss)| {
        let value = CapUnit::Micros.to_metadata_value(loss.into());
        let message = format!("{owner} loss of the day has reached its limit; only reductions pass");
        RuleSignal::lock(
            ID,
            ReasonCode::DailyLossExceeded,
            message,
            Metadata::new().with("value", value),
        )
    })
}

/// A loss of the trading day, of an account or of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayLoss {
    /// Whose loss it is.
    pub scope: LockScope,
    /// The loss, in millionths of the base currency.
    pub loss: i64,
}

impl DayLoss {
    /// Returns the loss of an account on a view.
    pub fn of_account(account_id: AccountId, view: &ProfitView) -> Self {
        Self {
            scope: LockScope::Account(account_id),
            loss: -view.day.profit.units(),
        }
    }

    /// Returns the loss of all accounts on a view.
    pub fn of_all(view: &ProfitView) -> Self {
        Self {
            scope: LockScope::All,
            loss: -view.day.profit.units(),
        }
    }
}

/// Returns the limit of the loss of a scope.
pub fn loss_limit(control: &ControlState, limits: &RiskLimits, scope: &LockScope) -> Micros {
    match scope {
        LockScope::Account(account_id) => account_loss_limit(control, limits, account_id),
        _ => global_loss_limit(control, limits),
    }
}

/// Returns the locks to set for losses of a day that have reached their limits, without those already in force. Only losses
/// that the router computes set a lock; a loss that a caller reports stops that caller's order and sets none.
pub fn find_breaches(
    losses: &[DayLoss],
    date: TradingDate,
    control: &ControlState,
    limits: &RiskLimits,
    now: Timestamp,
) -> Vec<Lock> {
    let reached = losses
        .iter()
        .filter(|one| one.loss >= loss_limit(control, limits, &one.scope).units());
    let locks = reached.map(|one| breach_lock(one, date, control, limits, now));
    let is_new = |lock: &Lock| control.locks.iter().all(|known| known.lock_id != lock.lock_id);
    locks.filter(is_new).collect()
}

/// Returns the lock of a loss that has reached its limit.
pub fn breach_lock(
    loss: &DayLoss,
    date: TradingDate,
    control: &ControlState,
    limits: &RiskLimits,
    now: Timestamp,
) -> Lock {
    let limit = loss_limit(control, limits, &loss.scope);
    let value = CapUnit::Micros.to_metadata_value(loss.loss.into());
    Lock {
        lock_id: Lock::compose_id(control.mode, &loss.scope, ID),
        message: format!("the loss of {date} has reached the daily loss limit of {limit}"),
        metadata: Metadata::new().with("value", value).with("limit", limit),
        scope: loss.scope.clone(),
        mode: control.mode,
        rule_id: ID.into(),
        locked_at: now,
        trading_date: Some(date),
    }
}

fn global_loss_limit(control: &ControlState, limits: &RiskLimits) -> Micros {
    control.daily_loss_limit.unwrap_or(limits.daily_loss)
}

/// Returns the account's limit: its own where it is tighter than the general one.
fn account_loss_limit(control: &ControlState, limits: &RiskLimits, account_id: &AccountId) -> Micros {
    let general = global_loss_limit(control, limits);
    let own = limits.accounts.get(account_id).and_then(|account| account.daily_loss);
    own.map_or(general, |own| own.min(general))
}
