//! `max_daily_loss`: the largest loss of a trading day, per account and over all accounts, including the expected losses
//! of open orders. At the limit only reductions pass. A realised breach sets a lock on the account, or on everything,
//! until an operator lifts it.

use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::id::AccountId;
use crate::domain::metadata::Metadata;
use crate::domain::money::Micros;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::domain::settlement::SharedSum;
use crate::domain::time::Timestamp;
use crate::risk::cap::{Cap, CapBound, CapMeasure, CapUnit};
use crate::risk::evaluation::Evaluation;
use crate::risk::limits::RiskLimits;
use crate::risk::rule_input::RuleInput;

/// The rule's id.
pub const ID: &str = "max_daily_loss";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let limit = account_loss_limit(input.control, input.limits, &input.intent.account_id);
    let description = "the account's loss of the day with its open orders' expected losses";
    match input.account_loss() {
        Some(loss) => {
            let (label, sum) = (
                loss.select_label("account", "account_by_caller"),
                SharedSum::AccountOpenLoss,
            );
            evaluation.add_cap(daily_loss_cap(input, label, sum, loss.units(), limit, description));
        }
        None => evaluation.add_opening_lock(unknown_pnl_signal("the account's")),
    }
    let limit = global_loss_limit(input.control, input.limits);
    let description = "the loss of the day over all accounts with the expected losses of all open orders";
    match loss_from_pnl(input.daily_pnl.total) {
        Some(loss) => evaluation.add_cap(daily_loss_cap(input, "", SharedSum::OpenLoss, loss, limit, description)),
        None => evaluation.add_opening_lock(unknown_pnl_signal("all accounts'")),
    }
}

/// Returns a cap on the sum of a loss and the expected losses of open orders.
fn daily_loss_cap(
    input: &RuleInput<'_>,
    label: &'static str,
    sum: SharedSum,
    loss: i64,
    limit: Micros,
    description: &'static str,
) -> Cap {
    Cap {
        rule_id: ID,
        label,
        code: ReasonCode::DailyLossExceeded,
        measure: CapMeasure::SharedSum(sum),
        delta: input.reservation.expected_loss.units(),
        offset: loss,
        limit: limit.units(),
        bound: CapBound::Exclusive,
        unit: CapUnit::Micros,
        description,
        allows_reductions: true,
    }
}

/// Returns the lock of an unknown profit. It is a refusal, not a denial: the profit may be known again a moment later.
fn unknown_pnl_signal(owner: &str) -> RuleSignal {
    RuleSignal::lock(
        ID,
        ReasonCode::ReferencePriceMissing,
        format!("{owner} profit of the day is unknown: a position has no price to be marked at; only reductions pass"),
        Metadata::new(),
    )
}

/// Returns the locks to set for the day's losses, without those already in force. Only realised and marked losses that
/// the router computes set a lock; a loss that a caller reports stops that caller's order and sets none.
pub fn find_breaches(day: &DailyPnl, control: &ControlState, limits: &RiskLimits, now: Timestamp) -> Vec<Lock> {
    let mut breaches = Vec::new();
    let mut check_scope = |scope: LockScope, pnl: Option<Micros>, limit: Micros| {
        let Some(loss) = loss_from_pnl(pnl).filter(|loss| *loss >= limit.units()) else {
            return;
        };
        let lock_id = Lock::compose_id(control.mode, &scope, ID);
        if control.locks.iter().any(|lock| lock.lock_id == lock_id) {
            return;
        }
        let loss = CapUnit::Micros.to_metadata_value(loss);
        breaches.push(Lock {
            lock_id,
            message: format!(
                "the loss of {} has reached the daily loss limit of {limit}",
                day.trading_date
            ),
            metadata: Metadata::new().with("value", loss).with("limit", limit),
            scope,
            mode: control.mode,
            rule_id: ID.into(),
            locked_at: now,
            trading_date: Some(day.trading_date),
        });
    };
    check_scope(LockScope::All, day.total, global_loss_limit(control, limits));
    for (account_id, pnl) in &day.accounts {
        let limit = account_loss_limit(control, limits, account_id);
        check_scope(LockScope::Account(account_id.clone()), *pnl, limit);
    }
    breaches
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

fn loss_from_pnl(pnl: Option<Micros>) -> Option<i64> {
    pnl.map(|pnl| -pnl.units())
}
