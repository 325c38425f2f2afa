//! Each order of the journal by itself: its fills are booked once, and its sums are those of its fills.

use std::collections::HashSet;

use crate::chaos::journal_model::{JournalModel, ModelOrder};
use crate::chaos::model_sums::filled_position;
use crate::chaos::violation::FoundViolations;
use crate::domain::decimal::Decimal;
use crate::domain::order_terms::OrderStatus;
use crate::domain::quantity::to_quantity_units;
use crate::domain::settlement::SumDeltas;

/// Checks every order of the journal.
pub(in crate::chaos) fn check_orders(model: &JournalModel, found: &mut FoundViolations) {
    let mut fills = HashSet::new();
    for order in model.orders.values() {
        if let Some(problem) = arithmetic_problem(order) {
            found.add("order_arithmetic", format!("{}: {problem}", order.order_id()));
        }
        let report = &order.newest;
        for fill in &report.fills {
            // Both sides of a trade between two orders have its id.
            if !fills.insert((report.symbol.as_str(), report.side.as_str(), fill.exec_id.as_str())) {
                found.add(
                    "fill_twice",
                    format!("{} is booked twice, of {} too", fill.exec_id, order.order_id()),
                );
            }
        }
    }
}

/// Returns what is wrong with an order's numbers.
fn arithmetic_problem(order: &ModelOrder) -> Option<String> {
    let report = &order.newest;
    let mut filled = report.fills.iter().map(|fill| fill.quantity);
    let filled = filled.try_fold(Decimal::ZERO, Decimal::checked_add)?;
    let (total, status) = (report.filled_quantity, report.status);
    if filled != total {
        return Some(format!("its fills add up to {filled}, and filled_quantity is {total}"));
    }
    if total > report.quantity {
        return Some(format!("{total} of {} are filled", report.quantity));
    }
    if (status == OrderStatus::Filled) != (total == report.quantity) {
        return Some(format!(
            "{total} of {} are filled, and its status is {status}",
            report.quantity
        ));
    }
    if order.is_denied() {
        return (!filled.is_zero()).then(|| "it was denied and has fills".to_owned());
    }
    let settlement = report.settlement.as_deref()?;
    let Ok(total) = SumDeltas::try_from(settlement.total) else {
        return Some("its total is no sum".to_owned());
    };
    if total != order.deltas {
        return Some(format!(
            "its versions move {:?}, and its total is {total:?}",
            order.deltas
        ));
    }
    let position = filled_position(report).and_then(to_quantity_units);
    if position != Some(total.position) {
        return Some(format!(
            "its fills move the position by {position:?}, and its total is {}",
            total.position
        ));
    }
    let open = i64::from(!report.leaves_quantity.is_zero());
    (open != total.open_orders).then(|| format!("{} open orders are counted for status {status}", total.open_orders))
}
