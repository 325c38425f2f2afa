//! The `ExecutionReport` of an order, and the order's fills in it.

use crate::domain::order::Order;
use crate::domain::order_terms::OrderStatus;
use crate::domain::quantity::{AmountError, Price, Quantity};
use crate::domain::venue_report::Fill;
use crate::wire::report::{ExecutionReport, ReportedFill};
use crate::wire::reported_replace::ReportedReplace;
use crate::wire::risk_signal::SignalSubject;

impl From<&Order> for ExecutionReport {
    /// Returns the report of an order, without its settlement.
    fn from(order: &Order) -> Self {
        Self {
            order_id: order.order_id.to_string(),
            broker_order_id: order.broker_order_id.clone(),
            client_order_id: order.client_order_id.to_string(),
            account_id: order.account_id.to_string(),
            status: order.status.unwrap_or(OrderStatus::Unknown),
            broker: order.broker.to_string(),
            venue: order.venue.to_string(),
            symbol: order.symbol.to_string(),
            side: order.side,
            order_type: order.order_type,
            time_in_force: order.time_in_force,
            price: order.price.map(Price::decimal),
            quantity: order.quantity.decimal(),
            filled_quantity: order.filled_quantity,
            leaves_quantity: order.leaves_quantity(),
            avg_price: order.average_price(),
            submitted_at: order.submitted_at,
            updated_at: order.updated_at,
            fills: order.fills.iter().map(ReportedFill::from).collect(),
            fills_total: u32::try_from(order.fill_count()).unwrap_or(u32::MAX),
            tags: order.tags.iter().map(ToString::to_string).collect(),
            mode: order.mode,
            version: order.version,
            reason: order.reason.clone(),
            replace: order
                .latest_replace()
                .map(|replace| Box::new(ReportedReplace::of(replace))),
            settlement: None,
        }
    }
}

impl From<&Fill> for ReportedFill {
    fn from(fill: &Fill) -> Self {
        Self {
            exec_id: fill.exec_id.clone(),
            quantity: fill.quantity.decimal(),
            price: fill.price.decimal(),
            timestamp: fill.timestamp,
            fee: fill.fee,
            fee_currency: fill.fee_currency.clone(),
        }
    }
}

impl TryFrom<ReportedFill> for Fill {
    type Error = AmountError;

    /// Returns the fill as a domain value, unless its quantity or its price is out of range.
    fn try_from(fill: ReportedFill) -> Result<Self, AmountError> {
        Ok(Self {
            exec_id: fill.exec_id,
            quantity: Quantity::new(fill.quantity)?,
            price: Price::new(fill.price)?,
            timestamp: fill.timestamp,
            fee: fill.fee,
            fee_currency: fill.fee_currency,
        })
    }
}

impl<'a> From<&'a Order> for SignalSubject<'a> {
    /// Returns the subject of a signal about an order.
    fn from(order: &'a Order) -> Self {
        Self {
            account_id: Some(&order.account_id),
            symbol: Some(&order.symbol),
            client_order_id: Some(&order.client_order_id),
            order_id: Some(&order.order_id),
        }
    }
}
