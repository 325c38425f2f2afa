//! `max_daily_loss`: the loss of a trading day, per account and over all, with the expected losses of open orders. At
//! the limit only reductions pass; a loss that has been made latches its account, or all, until somebody lifts that.

use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::id::AccountId;
use crate::domain::metadata::Metadata;
use crate::domain::money::Micros;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::settlement::SharedSum;
use crate::domain::time::Timestamp;
use crate::risk::cap::{CapBound, CapMeasure, CapUnit};
use crate::risk::limits::RiskLimits;
use crate::risk::{Cap, Evaluation, RuleInput};

/// The rule's name.
pub const ID: &str = "max_daily_loss";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let account_id = &input.intent.account_id;
    let limit = account_loss_limit(input.control, input.limits, account_id);
    let what = "the account's loss of the day with its open orders' expected losses";
    match input.account_loss() {
        Some(loss) => {
            let part = loss.select_label("account", "account_by_caller");
            assessment.add_cap(daily_loss_cap(
                input,
                part,
                SharedSum::AccountOpenLoss,
                loss.units(),
                limit,
                what,
            ));
        }
        None => assessment.add_opening_lock(unknown_pnl_signal("the account's")),
    }
    let limit = global_loss_limit(input.control, input.limits);
    let what = "the loss of the day over all accounts with the expected losses of all open orders";
    match loss_from_pnl(input.daily_pnl.total) {
        Some(loss) => assessment.add_cap(daily_loss_cap(input, "", SharedSum::OpenLoss, loss, limit, what)),
        None => assessment.add_opening_lock(unknown_pnl_signal("all accounts'")),
    }
}

/// A profit that is not known leaves no room, and it is no denial: it can be known again in a moment.
fn unknown_pnl_signal(whose: &str) -> RuleSignal {
    RuleSignal {
        rule_id: ID,
        level: SignalLevel::Lock,
        code: ReasonCode::ReferencePriceMissing,
        message: format!(
            "{whose} profit of the day is not known, for a position has no price to be marked at; only reductions pass"
        ),
        metadata: Metadata::new(),
    }
}

fn daily_loss_cap(
    input: &RuleInput<'_>,
    label: &'static str,
    counter: SharedSum,
    loss: i64,
    limit: Micros,
    description: &'static str,
) -> Cap {
    Cap {
        rule_id: ID,
        label: label,
        code: ReasonCode::DailyLossExceeded,
        measure: CapMeasure::SharedSum(counter),
        delta: input.reservation.expected_loss.units(),
        offset: loss,
        limit: limit.units(),
        bound: CapBound::Exclusive,
        unit: CapUnit::Micros,
        description: description,
        allows_reductions: true,
    }
}

/// Returns the latches that the day's figures call for and that are not in force yet. Only losses that have been made
/// close one, by our own figures: what a caller says of its account stops that order, and nothing else.
pub fn find_breaches(day: &DailyPnl, control: &ControlState, limits: &RiskLimits, now: Timestamp) -> Vec<Lock> {
    let mut breaches = Vec::new();
    let mut look = |scope: LockScope, pnl: Option<Micros>, limit: Micros| {
        let Some(loss) = loss_from_pnl(pnl).filter(|loss| *loss >= limit.units()) else {
            return;
        };
        let latch_id = Lock::compose_id(control.mode, &scope, ID);
        if control.locks.iter().any(|latch| latch.lock_id == latch_id) {
            return;
        }
        let loss = CapUnit::Micros.to_metadata_value(loss);
        breaches.push(Lock {
            lock_id: latch_id,
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
    look(LockScope::All, day.total, global_loss_limit(control, limits));
    for (account_id, pnl) in &day.accounts {
        let limit = account_loss_limit(control, limits, account_id);
        look(LockScope::Account(account_id.clone()), *pnl, limit);
    }
    breaches
}

fn global_loss_limit(control: &ControlState, limits: &RiskLimits) -> Micros {
    control.daily_loss_limit.unwrap_or(limits.daily_loss)
}

/// The account's own limit counts where it is tighter.
fn account_loss_limit(control: &ControlState, limits: &RiskLimits, account_id: &AccountId) -> Micros {
    let general = global_loss_limit(control, limits);
    let own = limits.accounts.get(account_id).and_then(|account| account.daily_loss);
    own.map_or(general, |own| own.min(general))
}

fn loss_from_pnl(pnl: Option<Micros>) -> Option<i64> {
    pnl.map(|pnl| -pnl.units())
}
