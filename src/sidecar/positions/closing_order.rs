//! Which order closes a position, and what may stand in its way. Pure.

use crate::domain::decimal::Decimal;
use crate::domain::id::ClientOrderId;
use crate::domain::order_terms::{OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::quantity::Quantity;
use crate::fault::{Fault, FaultCode};
use crate::order_log::{PositionRow, PositionsSnapshot};
use crate::wire::holding_id::HoldingId;
use crate::wire::intent::ExecutionIntent;
use crate::wire::order_record::OrderRecord;
use crate::wire::report::ExecutionReport;
use crate::wire::schema_numbers::NumberInput;

/// The tag of an order that closes a position.
pub(in crate::sidecar) const CLOSE_TAG: &str = "close_position";
/// The states of an order that may hold up a reduction.
pub(in crate::sidecar) const OPEN_STATUSES: [OrderStatus; 3] = [
    OrderStatus::Accepted,
    OrderStatus::PartiallyFilled,
    OrderStatus::Unknown,
];
/// The most open orders a problem names.
const MAX_NAMED_ORDERS: usize = 20;
/// What a problem names them under: the callers' ids, which hold no space, with one between.
const OPEN_ORDERS_FIELD: &str = "open_orders";
const TARGET_FIELD: &str = "target_quantity";

/// The order that closes a position, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) struct ClosingOrder {
    pub(in crate::sidecar) side: Side,
    pub(in crate::sidecar) quantity: Quantity,
    /// What is to be left: a part of the order's content, so that its key is good for this target alone.
    pub(in crate::sidecar) target_quantity: Decimal,
}

/// Returns the position an id names, of whichever mode; `None` for one that is not there.
pub(in crate::sidecar) fn find_position<'a>(
    positions: &'a PositionsSnapshot,
    id: &HoldingId,
) -> Option<&'a PositionRow> {
    let is_named = |row: &&PositionRow| {
        row.account_id == id.account_id.as_str() && row.venue == id.venue.as_str() && row.symbol == id.symbol.as_str()
    };
    let mut rows = positions.rows.iter().filter(|row| row.mode == id.mode);
    rows.find(is_named)
}

/// Returns what closes a position as far as `target`, no part of a lot included, so that never more than that is closed.
///
/// # Errors
/// `invalid_field` where the target is not between zero and what is held, or nothing is left to close;
/// `store_unavailable` where what is held is not known exactly.
pub(in crate::sidecar) fn build_closing_order(
    row: &PositionRow,
    lot_size: Decimal,
    target_quantity: Decimal,
) -> Result<ClosingOrder, Fault> {
    if !row.is_exact {
        let detail = "the order log could not count this position exactly; close it with an order of its own";
        return Err(Fault::new(FaultCode::StoreUnavailable, detail));
    }
    let held = row.book.quantity();
    let refused = |rule: String| Fault::for_field(FaultCode::InvalidField, TARGET_FIELD, rule);
    if held.is_zero() {
        return Err(refused("is reached: the position is flat".to_owned()));
    }
    let is_long = held.is_positive();
    let (left, most) = if is_long {
        (target_quantity, held)
    } else {
        (target_quantity.negated(), held.negated())
    };
    if left < Decimal::ZERO {
        return Err(refused(format!("must lie between 0 and {held}, which is held")));
    }
    if left >= most {
        return Err(refused(format!("is reached: {held} is held")));
    }
    let quantity = most
        .checked_sub(left)
        .and_then(|distance| round_down_to_lot(distance, lot_size));
    let quantity = quantity.ok_or_else(|| refused("cannot be counted exactly".to_owned()))?;
    if quantity.is_zero() {
        let rule = format!("is reached but for less than the lot of {lot_size}: {held} is held");
        return Err(refused(rule));
    }
    let larger = |rule| refused(format!("leaves more to close than one order can: its quantity {rule}"));
    Ok(ClosingOrder {
        side: if is_long { Side::Sell } else { Side::Buy },
        quantity: Quantity::new(quantity).map_err(larger)?,
        target_quantity: target_quantity,
    })
}

/// Returns a quantity rounded down to the lot.
fn round_down_to_lot(quantity: Decimal, lot_size: Decimal) -> Option<Decimal> {
    let scale = quantity.scale().max(lot_size.scale());
    let (units, lot) = (quantity.to_scaled_integer(scale)?, lot_size.to_scaled_integer(scale)?);
    Decimal::from_parts(units - units.checked_rem(lot)?, scale)
}

impl ClosingOrder {
    /// Returns the intent of the order: one that can do nothing but reduce the position, in the mode it is held in.
    pub(in crate::sidecar) fn to_intent(&self, row: &PositionRow, client_order_id: &ClientOrderId) -> ExecutionIntent {
        ExecutionIntent {
            broker: row.broker.clone(),
            venue: row.venue.clone(),
            symbol: row.symbol.clone(),
            side: self.side,
            quantity: NumberInput(self.quantity.decimal()),
            order_type: OrderType::Market,
            price: None,
            time_in_force: Some(TimeInForce::Ioc),
            client_order_id: Some(client_order_id.to_string()),
            tags: Some(closing_tags(self.target_quantity)),
            account_id: Some(row.account_id.clone()),
            estimated_loss: None,
            reduce_only: Some(true),
            mode: Some(row.mode),
            expires_at: None,
            risk: None,
        }
    }
}

/// Returns the tags of an order that closes a position to a target.
fn closing_tags(target_quantity: Decimal) -> Vec<String> {
    vec![CLOSE_TAG.to_owned(), format!("{TARGET_FIELD}:{target_quantity}")]
}

/// Whether a report tells of an order that closes this position to this target.
pub(in crate::sidecar) fn is_closing_report(
    report: &ExecutionReport,
    row: &PositionRow,
    target_quantity: Decimal,
) -> bool {
    report.mode == row.mode
        && report.account_id == row.account_id
        && report.venue == row.venue
        && report.symbol == row.symbol
        && report.tags == closing_tags(target_quantity)
}

/// Returns a rule's denial with the open orders that stand in the way: those of the position's instrument on the side that
/// closes it, which count against it as if they were filled.
pub(in crate::sidecar) fn with_blocking_orders(
    mut denial: Fault,
    row: &PositionRow,
    side: Side,
    open_orders: &[OrderRecord],
) -> Fault {
    let in_the_way = |order: &&OrderRecord| {
        order.mode == row.mode
            && order.account_id == row.account_id
            && order.venue == row.venue
            && order.symbol == row.symbol
            && order.side == side
            && OPEN_STATUSES.contains(&order.status)
    };
    let orders = open_orders.iter().filter(in_the_way).take(MAX_NAMED_ORDERS);
    let ids: Vec<&str> = orders.map(|order| order.correlation_id.as_str()).collect();
    if !ids.is_empty() {
        denial.metadata = denial.metadata.with(OPEN_ORDERS_FIELD, ids.join(" "));
    }
    denial
}

#[cfg(test)]
#[path = "closing_order_tests.rs"]
mod tests;
