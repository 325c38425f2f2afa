//! The order that closes a position, and the open orders that may block it. Pure.

use crate::domain::decimal::Decimal;
use crate::domain::id::ClientOrderId;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::quantity::Quantity;
use crate::fault::{Fault, FaultCode};
use crate::order_log::{PositionRow, PositionsSnapshot};
use crate::wire::holding_id::HoldingId;
use crate::wire::intent::ExecutionIntent;
use crate::wire::order_record::OrderRecord;
use crate::wire::report::ExecutionReport;
use crate::wire::schema_numbers::NumberInput;

/// The tag of a closing order.
pub(in crate::sidecar) const CLOSE_TAG: &str = "close_position";
/// The statuses of an order that may block a reduction.
pub(in crate::sidecar) const OPEN_STATUSES: [OrderStatus; 3] = [
    OrderStatus::Accepted,
    OrderStatus::PartiallyFilled,
    OrderStatus::Unknown,
];
/// The maximum number of open orders that a problem lists.
const MAX_NAMED_ORDERS: usize = 20;
/// The metadata field with their client order ids, which contain no space, separated by spaces.
const OPEN_ORDERS_FIELD: &str = "open_orders";
const TARGET_FIELD: &str = "target_quantity";

/// The order that closes a position, or part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) struct ClosingOrder {
    pub(in crate::sidecar) side: Side,
    pub(in crate::sidecar) quantity: Quantity,
    /// The signed quantity to leave. It is part of the order's content, so that an idempotency key is valid for one target.
    pub(in crate::sidecar) target_quantity: Decimal,
}

/// The mode, account, venue and symbol of a position.
type PositionKey<'a> = (Mode, &'a str, &'a str, &'a str);

fn key_of_row(row: &PositionRow) -> PositionKey<'_> {
    (row.mode, &row.account_id, &row.venue, &row.symbol)
}

/// Returns the position with an id, of any mode, or `None`.
pub(in crate::sidecar) fn find_position<'a>(
    positions: &'a PositionsSnapshot,
    id: &HoldingId,
) -> Option<&'a PositionRow> {
    let key = (id.mode, id.account_id.as_str(), id.venue.as_str(), id.symbol.as_str());
    positions.rows.iter().find(|row| key_of_row(row) == key)
}

/// Returns the order that reduces a position to `target_quantity`, rounded down to whole lots, so that it never closes more.
///
/// # Errors
/// `invalid_field` if the target is not between zero and the held quantity, or nothing is left to close;
/// `store_unavailable` if the held quantity is not known exactly.
pub(in crate::sidecar) fn build_closing_order(
    row: &PositionRow,
    lot_size: Decimal,
    target_quantity: Decimal,
) -> Result<ClosingOrder, Fault> {
    if !row.is_exact {
        let detail = "the order log has no exact quantity for this position; close it with a regular order";
        return Err(Fault::new(FaultCode::StoreUnavailable, detail));
    }
    let held = row.book.quantity();
    let invalid = |rule: String| Fault::for_field(FaultCode::InvalidField, TARGET_FIELD, rule);
    if held.is_zero() {
        return Err(invalid("is reached: the position is already flat".to_owned()));
    }
    let is_long = held.is_positive();
    let (remaining, held_size) = if is_long {
        (target_quantity, held)
    } else {
        (target_quantity.negated(), held.negated())
    };
    if remaining < Decimal::ZERO {
        return Err(invalid(format!("must be between 0 and the held quantity {held}")));
    }
    if remaining >= held_size {
        return Err(invalid(format!("must be closer to 0 than the held quantity {held}")));
    }
    let quantity = held_size
        .checked_sub(remaining)
        .and_then(|distance| round_down_to_lot(distance, lot_size));
    let quantity = quantity.ok_or_else(|| invalid("cannot be represented exactly".to_owned()))?;
    if quantity.is_zero() {
        let rule = format!("leaves less than one lot ({lot_size}) to close of the held quantity {held}");
        return Err(invalid(rule));
    }
    let too_large = |rule| invalid(format!("requires an order that is too large: its quantity {rule}"));
    Ok(ClosingOrder {
        side: if is_long { Side::Sell } else { Side::Buy },
        quantity: Quantity::new(quantity).map_err(too_large)?,
        target_quantity,
    })
}

/// Returns a quantity rounded down to the lot.
fn round_down_to_lot(quantity: Decimal, lot_size: Decimal) -> Option<Decimal> {
    let scale = quantity.scale().max(lot_size.scale());
    let (units, lot) = (quantity.to_scaled_integer(scale)?, lot_size.to_scaled_integer(scale)?);
    Decimal::from_parts(units - units.checked_rem(lot)?, scale)
}

impl ClosingOrder {
    /// Returns the intent of the order: reduce-only, in the position's mode.
    pub(in crate::sidecar) fn build_intent(
        &self,
        row: &PositionRow,
        client_order_id: &ClientOrderId,
    ) -> ExecutionIntent {
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

/// Returns the tags of an order that reduces a position to a target.
fn closing_tags(target_quantity: Decimal) -> Vec<String> {
    vec![CLOSE_TAG.to_owned(), format!("{TARGET_FIELD}:{target_quantity}")]
}

/// Returns whether a report is of an order that reduces this position to this target.
pub(in crate::sidecar) fn is_closing_report(
    report: &ExecutionReport,
    row: &PositionRow,
    target_quantity: Decimal,
) -> bool {
    let key: PositionKey = (report.mode, &report.account_id, &report.venue, &report.symbol);
    key == key_of_row(row) && report.tags == closing_tags(target_quantity)
}

/// Returns a rule's denial with the open orders that block the reduction: those of the position's instrument on the closing
/// side, which count against the position as if they were filled.
pub(in crate::sidecar) fn with_blocking_orders(
    mut denial: Fault,
    row: &PositionRow,
    side: Side,
    open_orders: &[OrderRecord],
) -> Fault {
    let is_blocking = |order: &&OrderRecord| {
        let key: PositionKey = (order.mode, &order.account_id, &order.venue, &order.symbol);
        key == key_of_row(row) && order.side == side && OPEN_STATUSES.contains(&order.status)
    };
    let orders = open_orders.iter().filter(is_blocking).take(MAX_NAMED_ORDERS);
    let ids: Vec<&str> = orders.map(|order| order.correlation_id.as_str()).collect();
    if !ids.is_empty() {
        denial.metadata = denial.metadata.with(OPEN_ORDERS_FIELD, ids.join(" "));
    }
    denial
}

#[cfg(test)]
#[path = "closing_order_tests.rs"]
mod tests;
