//! `max_daily_loss`: the loss of a trading day, per account and over all, with the expected losses of open orders. At
//! the limit only reductions pass; a loss that has been made latches its account, or all, until somebody lifts that.

use super::cap::{Bound, Measure, Unit};
use super::limits::Limits;
use super::{Assessment, Cap, Subject};
use crate::domain::control::{Control, Latch, LatchScope};
use crate::domain::day::DayFigures;
use crate::domain::id::AccountId;
use crate::domain::metadata::Metadata;
use crate::domain::money::Micros;
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::Counter;
use crate::domain::signal::{Level, Signal};
use crate::domain::time::Timestamp;

/// The rule's name.
pub const ID: &str = "max_daily_loss";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let account_id = &subject.intent.account_id;
    let limit = account_limit(subject.control, subject.limits, account_id);
    let what = "the account's loss of the day with its open orders' expected losses";
    match subject.account_loss() {
        Some(loss) => {
            let part = loss.part("account", "account_by_caller");
            assessment.cap(cap(subject, part, Counter::AccountOpenLoss, loss.units(), limit, what));
        }
        None => assessment.lock_openings(unknown("the account's")),
    }
    let limit = limit_of_all(subject.control, subject.limits);
    let what = "the loss of the day over all accounts with the expected losses of all open orders";
    match loss_of(subject.day.total) {
        Some(loss) => assessment.cap(cap(subject, "", Counter::OpenLoss, loss, limit, what)),
        None => assessment.lock_openings(unknown("all accounts'")),
    }
}

/// A profit that is not known leaves no room, and it is no denial: it can be known again in a moment.
fn unknown(whose: &str) -> Signal {
    Signal {
        rule_id: ID,
        level: Level::Lock,
        code: ReasonCode::ReferencePriceMissing,
        message: format!(
            "{whose} profit of the day is not known, for a position has no price to be marked at; only reductions pass"
        ),
        metadata: Metadata::new(),
    }
}

fn cap(
    subject: &Subject<'_>,
    part: &'static str,
    counter: Counter,
    loss: i64,
    limit: Micros,
    what: &'static str,
) -> Cap {
    Cap {
        rule_id: ID,
        part,
        code: ReasonCode::DailyLossExceeded,
        measure: Measure::Sum(counter),
        delta: subject.reservation.open_loss.units(),
        offset: loss,
        limit: limit.units(),
        bound: Bound::Below,
        unit: Unit::Micros,
        what,
        spares_reductions: true,
    }
}

/// Returns the latches that the day's figures call for and that are not in force yet. Only losses that have been made
/// close one, by our own figures: what a caller says of its account stops that order, and nothing else.
pub fn breaches(day: &DayFigures, control: &Control, limits: &Limits, now: Timestamp) -> Vec<Latch> {
    let mut breaches = Vec::new();
    let mut look = |scope: LatchScope, pnl: Option<Micros>, limit: Micros| {
        let Some(loss) = loss_of(pnl).filter(|loss| *loss >= limit.units()) else {
            return;
        };
        let latch_id = Latch::id_of(control.mode, &scope, ID);
        if control.latches.iter().any(|latch| latch.latch_id == latch_id) {
            return;
        }
        let loss = Unit::Micros.figure(loss);
        breaches.push(Latch {
            latch_id,
            message: format!(
                "the loss of {} has reached the daily loss limit of {limit}",
                day.trading_date
            ),
            metadata: Metadata::new().with("value", loss).with("limit", limit),
            scope,
            mode: control.mode,
            rule_id: ID.into(),
            since: now,
            trading_date: Some(day.trading_date),
        });
    };
    look(LatchScope::All, day.total, limit_of_all(control, limits));
    for (account_id, pnl) in &day.accounts {
        let limit = account_limit(control, limits, account_id);
        look(LatchScope::Account(account_id.clone()), *pnl, limit);
    }
    breaches
}

fn limit_of_all(control: &Control, limits: &Limits) -> Micros {
    control.daily_loss_limit.unwrap_or(limits.daily_loss)
}

/// The account's own limit counts where it is tighter.
fn account_limit(control: &Control, limits: &Limits, account_id: &AccountId) -> Micros {
    let general = limit_of_all(control, limits);
    let own = limits.accounts.get(account_id).and_then(|account| account.daily_loss);
    own.map_or(general, |own| own.min(general))
}

fn loss_of(pnl: Option<Micros>) -> Option<i64> {
    pnl.map(|pnl| -pnl.units())
}
