//! The limits: none was passed, each order was judged by a limit that was in force, and no two orders were judged by the
//! same room.

use std::collections::BTreeMap;

use crate::chaos::journal_model::{JournalModel, ModelLimits, ModelOrder};
use crate::chaos::judgement::{ACCOUNT_NOTIONAL, JudgedCap, OrderJudgement, POSITION_CAPS, TOTAL_NOTIONAL};
use crate::chaos::model_sums::ModelSums;
use crate::chaos::violation::FoundViolations;
use crate::config::limits::LimitSettings;
use crate::domain::decimal::Decimal;
use crate::domain::order_terms::Mode;
use crate::domain::time::{Timestamp, TradingDate};
use crate::wire::report::ExecutionReport;

/// How long after a change of the limits orders may still be judged by those before it: the change is on the journal
/// first, and the workers learn of it once Redis has it, which an outage delays.
const CHANGE_DELAY_MICROS: i64 = 30_000_000;

/// The orders that one counter counted in one epoch of the store: measure before the order, measure after it, order id.
type CounterReadings<'a> = BTreeMap<(&'static str, i64, TradingDate, &'a str), Vec<(Decimal, Decimal, &'a str)>>;

/// An order, or new terms of it, that the rules judged.
struct JudgedStep<'a> {
    order: &'a ModelOrder,
    /// The sequence of its journal entry.
    sequence: u64,
    accepted_at: Timestamp,
    /// The epoch of the store that it was reserved in.
    epoch: i64,
    judgement: &'a OrderJudgement,
}

/// Checks the limits. `order_counts_stay` says that an order, once claimed, never returns its notional of the day: so it is
/// for paper orders, and not for those that a live venue may reject.
pub(in crate::chaos) fn check_limits(
    model: &JournalModel,
    sums: &ModelSums,
    order_counts_stay: bool,
    found: &mut FoundViolations,
) {
    let mut readings = CounterReadings::new();
    for order in model.orders.values().filter(|order| !order.is_denied()) {
        for judged in judged_steps(order) {
            check_room(&judged, found);
            check_limit_in_force(&judged, model, found);
            collect_readings(&judged, &mut readings);
        }
    }
    if order_counts_stay {
        check_readings(readings, found);
    }
    check_final_sums(model, sums, found);
}

/// Returns the order and each of its replaces, as the rules judged them.
fn judged_steps(order: &ModelOrder) -> impl Iterator<Item = JudgedStep<'_>> {
    let whole = JudgedStep {
        order,
        // A submission may have been released and claimed again, under later limits.
        sequence: order.versions.first().map_or(0, |version| version.sequence),
        accepted_at: order.newest.submitted_at,
        epoch: order.epoch,
        judgement: &order.judgement,
    };
    let replaces = order.judged_replaces.iter().filter(|replace| !replace.only_reduces);
    let replaces = replaces.map(move |replace| JudgedStep {
        order,
        sequence: replace.sequence,
        accepted_at: replace.accepted_at,
        epoch: replace.epoch,
        judgement: &replace.judgement,
    });
    std::iter::once(whole).chain(replaces)
}

/// What is no reduction had room under every cap.
fn check_room(judged: &JudgedStep<'_>, found: &mut FoundViolations) {
    let (order, judgement) = (judged.order, judged.judgement);
    if judgement.caps.is_empty() {
        let text = format!("{} has no figures at entry {}", order.order_id(), judged.sequence);
        found.add("not_judged", text);
    }
    for cap in judgement.caps.iter().filter(|_| !judgement.is_reduction) {
        if cap.after().is_none_or(|after| after > cap.limit) {
            let JudgedCap {
                name,
                before,
                added,
                limit,
            } = cap;
            let text = format!("{}: {name} was {before}, plus {added}, above {limit}", order.order_id());
            found.add("limit_passed", text);
        }
    }
}

/// The limit that an order was judged by was in force when it was accepted.
fn check_limit_in_force(judged: &JudgedStep<'_>, model: &JournalModel, found: &mut FoundViolations) {
    let (order, report) = (judged.order, &judged.order.newest);
    for name in [TOTAL_NOTIONAL, ACCOUNT_NOTIONAL, POSITION_CAPS[0], POSITION_CAPS[1]] {
        let Some(cap) = judged.judgement.cap(name) else {
            continue;
        };
        let in_force = limits_around(model, judged.sequence, judged.accepted_at.as_microseconds());
        let values: Vec<Option<Decimal>> = in_force.map(|limits| limit_of(&limits.limits, name, report)).collect();
        if !values.contains(&Some(cap.limit)) {
            let text = format!(
                "{} was judged by {name} {}, in force was {values:?}",
                order.order_id(),
                cap.limit
            );
            found.add("limit_not_in_force", text);
        }
    }
}

/// Returns the limits that were in force at a moment, or shortly before, and on the journal before a sequence.
fn limits_around(model: &JournalModel, sequence: u64, moment: i64) -> impl Iterator<Item = &ModelLimits> {
    let ends = model
        .limits
        .iter()
        .skip(1)
        .map(|next| next.changed_at.as_microseconds());
    let ends = ends.chain([i64::MAX]);
    let spans = model.limits.iter().zip(ends);
    spans
        .filter(move |(limits, end)| limits.sequence < sequence && end.saturating_add(CHANGE_DELAY_MICROS) >= moment)
        .map(|(limits, _)| limits)
}

/// Returns a limit of an order's account, as the settings say.
fn limit_of(limits: &LimitSettings, cap: &str, report: &ExecutionReport) -> Option<Decimal> {
    let account = limits
        .accounts()
        .0
        .iter()
        .find(|account| account.account_id == report.account_id);
    match cap {
        TOTAL_NOTIONAL => limits.risk().daily_notional_limit.parse().ok(),
        // A live venue is a spot market: nothing is sold that is not held.
        _ if cap == POSITION_CAPS[1] && report.mode == Mode::Live => Some(Decimal::ZERO),
        ACCOUNT_NOTIONAL => account?.daily_notional_limit.as_ref()?.parse().ok(),
        _ => {
            let name = format!("{}:{}", report.venue, report.symbol);
            let own = account.and_then(|account| account.max_positions.get(&name));
            let mut instruments = limits.instruments().0.iter();
            let of_order = instruments.find(|one| one.venue == report.venue && one.symbol == report.symbol);
            own.or(of_order.map(|one| &one.max_position))?.parse().ok()
        }
    }
}

fn collect_readings<'a>(judged: &JudgedStep<'a>, readings: &mut CounterReadings<'a>) {
    let order = judged.order;
    let report = &order.newest;
    let Some(settlement) = report.settlement.as_deref() else {
        return;
    };
    for (name, owner) in [(TOTAL_NOTIONAL, ""), (ACCOUNT_NOTIONAL, report.account_id.as_str())] {
        if let Some(cap) = judged.judgement.cap(name)
            && let Some(after) = cap.after()
        {
            let counter = (name, judged.epoch, settlement.trading_date, owner);
            readings
                .entry(counter)
                .or_default()
                .push((cap.before, after, order.order_id()));
        }
    }
}

/// Within an epoch the notional of a day only grows: each order begins where the ones before it ended, or behind.
fn check_readings(readings: CounterReadings<'_>, found: &mut FoundViolations) {
    for ((name, epoch, _, owner), mut orders) in readings {
        orders.sort_unstable();
        for pair in orders.windows(2) {
            let [(_, end, first), (begin, _, second)] = pair else {
                continue;
            };
            if begin < end {
                let text = format!(
                    "{name} {owner} in epoch {epoch}: {second} was judged from {begin}, {first} had made it {end}"
                );
                found.add("counter_overlap", text);
            }
        }
    }
}

/// What the orders add up to is within the widest limits that were ever in force.
fn check_final_sums(model: &JournalModel, sums: &ModelSums, found: &mut FoundViolations) {
    for ((date, account), routed) in &sums.limited_notional {
        let own = model.limits.iter().filter_map(|limits| {
            let mut accounts = limits.limits.accounts().0.iter();
            accounts
                .find(|one| one.account_id == *account)?
                .daily_notional_limit
                .as_ref()?
                .parse()
                .ok()
        });
        if own.max().is_some_and(|widest: Decimal| *routed > widest) {
            found.add(
                "limit_passed",
                format!("{account} routed {routed} on {date}, above every limit"),
            );
        }
    }
    for ((account, venue, symbol), holding) in &sums.holdings {
        let name = format!("{venue}:{symbol}");
        let widest = model.limits.iter().filter_map(|limits| {
            let mut accounts = limits.limits.accounts().0.iter();
            let own = accounts
                .find(|one| one.account_id == *account)
                .and_then(|one| one.max_positions.get(&name));
            let mut instruments = limits.limits.instruments().0.iter();
            let of_all = instruments.find(|one| one.venue == *venue && one.symbol == *symbol);
            own.or(of_all.map(|one| &one.max_position))?.parse::<Decimal>().ok()
        });
        if widest.max().is_some_and(|widest| holding.position.abs() > widest) {
            found.add(
                "limit_passed",
                format!("{account} holds {} {name}, above every limit", holding.position),
            );
        }
    }
}
