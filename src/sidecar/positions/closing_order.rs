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
use crate::wire::positions::{PositionTarget, RemainderBelowLot};
use crate::wire::report::ExecutionReport;
use crate::wire::schema_numbers::NumberInput;

/// The tag of a closing order.
pub(in crate::sidecar) const CLOSE_TAG: &str = "close_position";
/// The maximum number of open orders that a problem lists.
const MAX_NAMED_ORDERS: usize = 20;
/// The metadata field with their client order ids, which contain no space, separated by spaces.
const OPEN_ORDERS_FIELD: &str = "open_orders";
const TARGET_FIELD: &str = "target_quantity";

/// The order that brings a position to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) struct ClosingOrder {
    pub(in crate::sidecar) side: Side,
    pub(in crate::sidecar) quantity: Quantity,
    /// Whether the order only reduces the position. An ordinary order goes beyond it or through zero.
    pub(in crate::sidecar) is_reduction: bool,
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

/// Returns the order that brings a position to a target, rounded down to whole lots, so that it never trades more: a
/// reduction, or an ordinary order where the request allows one.
///
/// # Errors
/// `invalid_field` if the target is reached, less than a lot away, or neither between zero and the held quantity nor allowed;
/// `store_unavailable` if the held quantity is not known exactly.
pub(in crate::sidecar) fn build_closing_order(
    row: &PositionRow,
    lot_size: Decimal,
    target: PositionTarget,
) -> Result<ClosingOrder, Fault> {
    if !row.is_exact {
        let detail = "the order log has no exact quantity for this position; close it with a regular order";
        return Err(Fault::new(FaultCode::StoreUnavailable, detail));
    }
    let (held, target_quantity) = (row.book.quantity(), target.quantity);
    let invalid = |rule: String| Fault::for_field(FaultCode::InvalidField, TARGET_FIELD, rule);
    if target_quantity == held {
        return Err(invalid(format!("is reached: the position is {held} already")));
    }
    let is_reduction = is_between_zero_and(held, target_quantity);
    if !is_reduction && !target.allow_increase {
        let rule = match held.is_zero() {
            true => "cannot be reached by closing: the position is flat".to_owned(),
            false => format!("must be between 0 and the held quantity {held}"),
        };
        return Err(invalid(format!(
            "{rule}; with allow_increase: true an ordinary order is sent for {target_quantity}"
        )));
    }
    let distance = held.checked_sub(target_quantity).map(Decimal::abs);
    let quantity = distance.and_then(|distance| round_down_to_lot(distance, lot_size));
    let quantity = quantity.ok_or_else(|| invalid("cannot be represented exactly".to_owned()))?;
    if quantity.is_zero() {
        let rest = held.checked_sub(target_quantity).unwrap_or(held);
        let rule = format!(
            "is less than one lot ({lot_size}) away from the held quantity {held}: no order can trade {}. To clear it: {}",
            rest.abs(),
            clearing_command(key_of_row(row), rest)
        );
        let fault = invalid(rule);
        let metadata = fault
            .metadata
            .with("remainder_below_lot", rest)
            .with("lot_size", lot_size);
        return Err(Fault { metadata, ..fault });
    }
    let too_large = |rule| invalid(format!("requires an order that is too large: its quantity {rule}"));
    Ok(ClosingOrder {
        side: if target_quantity < held { Side::Sell } else { Side::Buy },
        quantity: Quantity::new(quantity).map_err(too_large)?,
        is_reduction,
        target_quantity,
    })
}

/// Returns the part of a position beyond its target that is less than one lot, which no order can trade; `None` where there
/// is none.
pub(in crate::sidecar) fn remainder_below_lot(
    row: &PositionRow,
    held: Decimal,
    target_quantity: Decimal,
    lot_size: Decimal,
) -> Option<RemainderBelowLot> {
    let distance = held.checked_sub(target_quantity)?;
    let whole_lots = round_down_to_lot(distance.abs(), lot_size)?;
    let rest = distance.abs().checked_sub(whole_lots)?;
    let rest = if distance.is_positive() { rest } else { rest.negated() };
    (!rest.is_zero()).then(|| RemainderBelowLot {
        quantity: rest,
        lot_size,
        detail: format!(
            "{} stays: it is less than one lot ({lot_size}), which no order can trade. To clear it: {}",
            rest.abs(),
            clearing_command(key_of_row(row), rest)
        ),
    })
}

/// Returns the command that takes a quantity out of a position without an order.
fn clearing_command((_, account, venue, symbol): PositionKey<'_>, quantity: Decimal) -> String {
    format!(
        "order-router adjust --account {account} --venue {venue} --symbol {symbol} --quantity {} --price PRICE --actor NAME \
         --reason REASON",
        quantity.negated()
    )
}

/// Reports whether a quantity other than the held one lies between zero and it.
fn is_between_zero_and(held: Decimal, quantity: Decimal) -> bool {
    if held.is_positive() {
        Decimal::ZERO <= quantity && quantity < held
    } else {
        held < quantity && quantity <= Decimal::ZERO
    }
}

/// Returns a quantity rounded down to the lot.
fn round_down_to_lot(quantity: Decimal, lot_size: Decimal) -> Option<Decimal> {
    let scale = quantity.scale().max(lot_size.scale());
    let (units, lot) = (quantity.to_scaled_integer(scale)?, lot_size.to_scaled_integer(scale)?);
    Decimal::from_parts(units - units.checked_rem(lot)?, scale)
}

impl ClosingOrder {
    /// Returns the intent of the order, in the position's mode: reduce-only if it is a reduction.
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
            reduce_only: Some(self.is_reduction),
            mode: Some(row.mode),
            expires_at: None,
            risk: None,
        }
    }
}

/// Returns the tags of an order that brings a position to a target.
fn closing_tags(target_quantity: Decimal) -> Vec<String> {
    vec![CLOSE_TAG.to_owned(), format!("{TARGET_FIELD}:{target_quantity}")]
}

/// Returns whether a report is of an order that brings this position to this target.
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
        key == key_of_row(row) && order.side == side && OrderStatus::OPEN.contains(&order.status)
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
