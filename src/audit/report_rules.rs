//! The rules that one report has to keep: its own arithmetic, and what follows from the version before it. They are
//! written from the contract and know nothing of how the router books.

use std::collections::BTreeMap;

use crate::audit::differences::{Differences, shown};
use crate::audit::finding::{Finding, FindingKind};
use crate::audit::term_rules::check_terms;
use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding, round_to_units};
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderStatus, Side};
use crate::domain::quantity::{
    AVERAGE_PRICE_DECIMALS, MAX_AMOUNT_DECIMALS, QuantityUnits, from_quantity_units, to_quantity_units,
};
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::SumDeltas;
use crate::domain::status_transition::{OrderEvent, next_status};
use crate::domain::time::TradingDate;
use crate::domain::venue_report::Fill;
use crate::wire::report::ExecutionReport;
use crate::wire::settlement::ReportSettlement;

/// The events that may end a report, beside its fills.
const STATE_EVENTS: [OrderEvent; 5] = [
    OrderEvent::Acknowledged,
    OrderEvent::Cancelled,
    OrderEvent::Expired,
    OrderEvent::Rejected,
    OrderEvent::OutcomeUnknown,
];

/// A report with the order that it describes.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckedReport<'a> {
    pub(super) report: &'a ExecutionReport,
    pub(super) order: &'a Order,
    pub(super) settlement: &'a ReportSettlement,
}

/// Returns every rule that a report breaks; `before` is the order at the version before it, where that is known.
pub(super) fn check_report(checked: CheckedReport<'_>, before: Option<&Order>) -> Vec<Finding> {
    let mut found = Differences::default();
    check_own_arithmetic(checked, &mut found);
    check_totals(checked.order, checked.settlement, &mut found);
    match before {
        Some(before) => check_after(checked, before, &mut found),
        None if checked.order.version == 1 => check_first(checked, &mut found),
        None => {}
    }
    found.into_findings()
}

/// Returns every rule that a submission breaks: it reserves the whole order, and nothing is filled.
pub(super) fn check_submission(order: &Order, settlement: &ReportSettlement, deltas: &SumDeltas) -> Vec<Finding> {
    let mut found = Differences::default();
    let kind = FindingKind::Submission;
    found.check(kind, "version", 0, order.version);
    found.check(kind, "filled_quantity", Decimal::ZERO, order.filled_quantity);
    let reserved = shown(to_quantity_units(order.quantity.decimal()));
    found.check(
        kind,
        "settlement.reserved_quantity",
        reserved,
        order.reservation.reserved.to_string(),
    );
    compare_deltas(
        kind,
        "settlement.deltas",
        &wanted_totals(order, settlement),
        deltas,
        &mut found,
    );
    found.into_findings()
}

/// Filled = the sum of the fills, leaves = quantity − filled while live, the mean price half-even with 12 decimals.
fn check_own_arithmetic(checked: CheckedReport<'_>, found: &mut Differences) {
    let CheckedReport {
        report,
        order,
        settlement,
    } = checked;
    let kind = FindingKind::Arithmetic;
    let count = order.fills.len() + order.older_exec_ids.len();
    found.check(kind, "fills_total", count.to_string(), report.fills_total.to_string());
    let ids = order
        .fills
        .iter()
        .map(|fill| &fill.exec_id)
        .chain(&order.older_exec_ids);
    let mut seen = std::collections::HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            found.push(Finding::of_break(
                kind,
                "fills",
                ("each execution once", format!("{id} twice")),
            ));
        }
    }
    if order.older_exec_ids.is_empty() {
        let filled = sum_of(order.fills.iter().map(|fill| Some(fill.quantity.decimal())));
        found.check(
            kind,
            "filled_quantity",
            shown(filled),
            order.filled_quantity.to_string(),
        );
        let cost = sum_of(order.fills.iter().map(cost_of));
        found.check(
            kind,
            "settlement.filled_cost",
            shown(cost),
            settlement.filled_cost.to_string(),
        );
    }
    let is_ended = report.status.is_terminal();
    let open = report.quantity.checked_sub(report.filled_quantity);
    let leaves = open.filter(|open| !is_ended && open.is_positive());
    found.check(
        kind,
        "leaves_quantity",
        leaves.unwrap_or(Decimal::ZERO),
        report.leaves_quantity,
    );
    let mean = settlement
        .filled_cost
        .div_half_even(report.filled_quantity, AVERAGE_PRICE_DECIMALS);
    found.check(kind, "avg_price", shown(mean), shown(report.avg_price));
    let is_filled = report.filled_quantity >= report.quantity;
    let has_fills = report.filled_quantity.is_positive();
    let is_consistent = match report.status {
        OrderStatus::Filled => is_filled,
        OrderStatus::PartiallyFilled => has_fills && !is_filled,
        OrderStatus::Accepted | OrderStatus::Unknown | OrderStatus::Rejected => !has_fills,
        OrderStatus::Cancelled | OrderStatus::Expired => !is_filled,
    };
    if !is_consistent {
        let filled = format!("{} of {}", report.filled_quantity, report.quantity);
        found.push(Finding::of_break(
            kind,
            "status",
            (format!("that of {filled}"), report.status),
        ));
    }
}

fn cost_of(fill: &Fill) -> Option<Decimal> {
    fill.price.decimal().checked_mul(fill.quantity.decimal())
}

fn sum_of(numbers: impl Iterator<Item = Option<Decimal>>) -> Option<Decimal> {
    let mut sum = Decimal::ZERO;
    for number in numbers {
        sum = sum.checked_add(number?)?;
    }
    Some(sum)
}

/// What an order has moved in all follows from what it holds: the sums of the two sides differ by what it reserves, and it
/// is one open order with its expected loss, or none. Money and position are checked against the fills.
fn check_totals(order: &Order, settlement: &ReportSettlement, found: &mut Differences) {
    let wanted = wanted_totals(order, settlement);
    compare_deltas(
        FindingKind::Settlement,
        "settlement.total",
        &wanted,
        &order.total_deltas,
        found,
    );
    let bought = to_quantity_units(order.filled_quantity).unwrap_or(0);
    let fees = order.fills.iter().map(|fill| fee_in_asset(order, fill));
    if order.older_exec_ids.is_empty()
        && let Some(fees) = fees.sum::<Option<QuantityUnits>>()
    {
        let traded = if order.side == Side::Buy { bought } else { -bought };
        found.check(
            FindingKind::Settlement,
            "settlement.total.position",
            from_quantity_units(traded - fees),
            from_quantity_units(order.total_deltas.position),
        );
    }
}

/// Returns what an order has to have moved in all, given its position, its money and what it reserves.
fn wanted_totals(order: &Order, settlement: &ReportSettlement) -> SumDeltas {
    let (reservation, total) = (&order.reservation, &order.total_deltas);
    let (long, short) = match order.side {
        Side::Buy => (total.position + reservation.reserved, -total.position),
        Side::Sell => (total.position, -total.position + reservation.reserved),
    };
    let open_loss = match reservation.is_open {
        true => settlement.open_loss.saturating_add(settlement.open_price_loss),
        false => 0,
    };
    SumDeltas {
        long,
        short,
        open_orders: reservation.is_open.into(),
        open_loss,
        daily_notional: settlement.daily_notional,
        ..*total
    }
}

fn compare_deltas(kind: FindingKind, name: &str, wanted: &SumDeltas, moved: &SumDeltas, found: &mut Differences) {
    for (field, expected, moved) in [
        ("long", wanted.long, moved.long),
        ("short", wanted.short, moved.short),
        ("position", wanted.position, moved.position),
    ] {
        let pair = (from_quantity_units(expected), from_quantity_units(moved));
        found.check(kind, &format!("{name}.{field}"), pair.0, pair.1);
    }
    for (field, expected, moved) in [
        ("cash_flow", wanted.cash_flow, moved.cash_flow),
        ("fees", wanted.fees, moved.fees),
        ("open_orders", wanted.open_orders, moved.open_orders),
        ("open_loss", wanted.open_loss, moved.open_loss),
        ("daily_notional", wanted.daily_notional, moved.daily_notional),
        ("fill_result", wanted.fill_result, moved.fill_result),
        ("unpriced_fees", wanted.unpriced_fees, moved.unpriced_fees),
    ] {
        found.check(kind, &format!("{name}.{field}"), expected, moved);
    }
}

/// Returns what a fill's fee takes from the position, in units of 1e-8, rounded up; zero for a fee in money. `None` beyond
/// the exact range.
fn fee_in_asset(order: &Order, fill: &Fill) -> Option<QuantityUnits> {
    if order.reservation.base_asset.as_deref() != Some(fill.fee_currency.as_str()) {
        return Some(0);
    }
    round_to_units(fill.fee, MAX_AMOUNT_DECIMALS, Rounding::Up).map(QuantityUnits::from)
}

/// The first report counts from nothing.
fn check_first(checked: CheckedReport<'_>, found: &mut Differences) {
    check_status(checked, None, &checked.order.fills.iter().collect::<Vec<_>>(), found);
    let wanted = BTreeMap::from([(
        checked.settlement.booked_on,
        moved_by(checked.settlement).unwrap_or_default(),
    )]);
    check_days(checked, &wanted, found);
    let fills: Vec<&Fill> = checked.order.fills.iter().collect();
    if checked.order.older_exec_ids.is_empty() {
        check_booked_fills(checked, &fills, found);
    }
}

fn moved_by(settlement: &ReportSettlement) -> Option<SumDeltas> {
    settlement.deltas.try_into().ok()
}

/// A later report follows from the one before it.
fn check_after(checked: CheckedReport<'_>, before: &Order, found: &mut Differences) {
    check_terms(checked.order, before, found);
    let order = checked.order;
    let new_count = order.fill_count().saturating_sub(before.fill_count());
    let all_ids = |order: &Order| -> Vec<String> {
        let listed = order.fills.iter().map(|fill| fill.exec_id.clone());
        order.older_exec_ids.iter().cloned().chain(listed).collect()
    };
    let (known, present) = (all_ids(before), all_ids(order));
    if !present.starts_with(&known) {
        let pair = (
            "those of the version before, then new ones",
            format!("{present:?} after {known:?}"),
        );
        found.push(Finding::of_break(FindingKind::Arithmetic, "fills", pair));
        return;
    }
    for (earlier, later) in before.fills.iter().filter_map(|fill| {
        let same = order.fills.iter().find(|other| other.exec_id == fill.exec_id)?;
        Some((fill, same))
    }) {
        if earlier != later {
            let pair = (format!("{earlier:?}"), format!("{later:?}"));
            found.push(Finding::of_break(FindingKind::Arithmetic, "fills", pair));
        }
    }
    // More fills than a report lists: what the others moved is unknown.
    if new_count <= order.fills.len() {
        let new: Vec<&Fill> = order.fills.iter().skip(order.fills.len() - new_count).collect();
        let added = sum_of(new.iter().map(|fill| Some(fill.quantity.decimal())));
        let filled = added.and_then(|added| before.filled_quantity.checked_add(added));
        found.check(
            FindingKind::Arithmetic,
            "filled_quantity",
            shown(filled),
            order.filled_quantity.to_string(),
        );
        let cost = sum_of(new.iter().map(|fill| cost_of(fill)));
        let cost = cost.and_then(|cost| before.filled_cost.checked_add(cost));
        found.check(
            FindingKind::Arithmetic,
            "settlement.filled_cost",
            shown(cost),
            order.filled_cost.to_string(),
        );
        check_status(checked, Some(before), &new, found);
        check_booked_fills(checked, &new, found);
    }
    let mut days: BTreeMap<TradingDate, SumDeltas> = BTreeMap::new();
    for day in before.deltas_by_day().unwrap_or_default() {
        add_to_day(&mut days, day.booked_on, &day.deltas);
    }
    let moved = moved_by(checked.settlement).unwrap_or_default();
    add_to_day(&mut days, checked.settlement.booked_on, &moved);
    check_days(checked, &days, found);
    if order.updated_at < before.updated_at {
        let pair = (format!("{} or later", before.updated_at), order.updated_at);
        found.push(Finding::of_break(FindingKind::Arithmetic, "updated_at", pair));
    }
}

fn add_to_day(days: &mut BTreeMap<TradingDate, SumDeltas>, day: TradingDate, deltas: &SumDeltas) {
    let sum = days.entry(day).or_default();
    *sum = sum.checked_add(deltas).unwrap_or(*sum);
}

/// What an order has moved on each day is what its versions have moved.
fn check_days(checked: CheckedReport<'_>, wanted: &BTreeMap<TradingDate, SumDeltas>, found: &mut Differences) {
    let order = Order {
        booked_on: Some(checked.settlement.booked_on),
        ..checked.order.clone()
    };
    let mut days = BTreeMap::new();
    for day in order.deltas_by_day().unwrap_or_default() {
        add_to_day(&mut days, day.booked_on, &day.deltas);
    }
    let all: std::collections::BTreeSet<TradingDate> = wanted.keys().chain(days.keys()).copied().collect();
    for day in all {
        let of = |days: &BTreeMap<TradingDate, SumDeltas>| days.get(&day).copied().unwrap_or_default();
        let name = format!("settlement.total on {day}");
        compare_deltas(FindingKind::Settlement, &name, &of(wanted), &of(&days), found);
    }
}

/// Returns the status that an order has before the fills of a version: one that has ended is open again under new terms.
fn status_under(before: &Order, has_new_terms: bool) -> Option<OrderStatus> {
    match before.status {
        Some(status) if has_new_terms && status.is_terminal() => Some(match before.filled_quantity.is_positive() {
            true => OrderStatus::PartiallyFilled,
            false => OrderStatus::Accepted,
        }),
        status => status,
    }
}

/// Every status follows from the one before it, by the report's fills and at most one more event.
fn check_status(checked: CheckedReport<'_>, before: Option<&Order>, new: &[&Fill], found: &mut Differences) {
    let order = checked.order;
    let has_new_terms = before.is_some_and(|before| order.working_leg() > before.working_leg());
    let mut status = before.and_then(|before| status_under(before, has_new_terms));
    let mut filled = before.map_or(Decimal::ZERO, |before| before.filled_quantity);
    for fill in new {
        filled = filled.checked_add(fill.quantity.decimal()).unwrap_or(filled);
        let event = match filled >= order.quantity.decimal() {
            true => OrderEvent::Fill,
            false => OrderEvent::PartialFill,
        };
        status = next_status(status, event).or(status);
    }
    let is_reached = |event: &OrderEvent| next_status(status, *event) == order.status;
    let is_found_after_all = before.is_some_and(|before| {
        let reason = before.reason.as_ref().map(|reason| reason.code);
        before.status == Some(OrderStatus::Rejected) && reason == Some(ReasonCode::NotPlaced)
    }) && order.status == Some(OrderStatus::Accepted);
    let is_filled_by_terms =
        has_new_terms && order.status == Some(OrderStatus::Filled) && order.filled_quantity >= order.quantity.decimal();
    if is_filled_by_terms
        || order.status == status && status.is_some()
        || STATE_EVENTS.iter().any(is_reached)
        || is_found_after_all
    {
        return;
    }
    let from = shown(before.and_then(|before| before.status));
    let pair = (format!("a status that follows {from}"), shown(order.status));
    found.push(Finding::of_break(FindingKind::StatusTransition, "status", pair));
}

/// New fills move position, cash flow and result by what they trade.
fn check_booked_fills(checked: CheckedReport<'_>, new: &[&Fill], found: &mut Differences) {
    let (order, Some(moved)) = (checked.order, moved_by(checked.settlement)) else {
        return;
    };
    let Some(wanted) = booked_by(order, new) else { return };
    let kind = FindingKind::Settlement;
    found.check(
        kind,
        "settlement.deltas.position",
        from_quantity_units(wanted.position),
        from_quantity_units(moved.position),
    );
    found.check(kind, "settlement.deltas.cash_flow", wanted.cash_flow, moved.cash_flow);
    found.check(
        kind,
        "settlement.deltas.fill_result",
        wanted.fill_result + moved.cash_flow - moved.fees,
        moved.fill_result,
    );
    let in_money = new
        .iter()
        .filter(|fill| !fill.fee.is_zero() && order.reservation.base_asset.as_deref() != Some(&fill.fee_currency));
    let in_money = i64::try_from(in_money.count()).unwrap_or(i64::MAX);
    if in_money == 0 {
        found.check(kind, "settlement.deltas.fees", 0, moved.fees);
    }
    if !(0..=in_money).contains(&moved.unpriced_fees) {
        let pair = (format!("0 to {in_money}"), moved.unpriced_fees);
        found.push(Finding::of_break(kind, "settlement.deltas.unpriced_fees", pair));
    }
}

/// Returns position and cash flow of fills, and their value at the mark in place of the result. `None` beyond the exact
/// range.
fn booked_by(order: &Order, fills: &[&Fill]) -> Option<SumDeltas> {
    let mut booked = SumDeltas::default();
    let rate = order.reservation.base_rate;
    for fill in fills {
        let traded = to_quantity_units(fill.quantity.decimal())?;
        let terms = [fill.price.decimal(), fill.quantity.decimal(), rate];
        let (traded, cash) = match order.side {
            Side::Buy => (traded, -Micros::from_product(terms, Rounding::Up)?.units()),
            Side::Sell => (-traded, Micros::from_product(terms, Rounding::Down)?.units()),
        };
        let position = traded - fee_in_asset(order, fill)?;
        let at_mark = [from_quantity_units(position), order.reservation.mark.decimal(), rate];
        booked.position += position;
        booked.cash_flow += cash;
        booked.fill_result += Micros::from_product(at_mark, Rounding::Down)?.units();
    }
    Some(booked)
}
