//! An order in a reply: to a placement (ACK, RESULT, FULL), a cancel, a query, or a list of open orders.

use serde::Deserialize;

use crate::domain::decimal::Decimal;

/// The status of an order at the venue (`enums.md`, "Order status").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VenueStatus {
    /// Accepted by the engine.
    New,
    /// The pending part of an order list.
    PendingNew,
    /// Partly filled, the remainder is open.
    PartiallyFilled,
    /// Filled in full.
    Filled,
    /// Cancelled on request.
    Canceled,
    /// A cancel is in progress; the venue does not use it.
    PendingCancel,
    /// Rejected by the engine.
    Rejected,
    /// Ended by the rules of its type, or by the venue. It may have fills.
    Expired,
    /// Ended by self-trade prevention. It may have fills.
    ExpiredInMatch,
}

/// An order as a query, a cancel or a list of open orders returns it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderState {
    /// The symbol, as the venue spells it.
    pub symbol: String,
    /// The venue's id of the order, unique within the symbol.
    pub order_id: i64,
    /// The client order id. In the reply to a cancel it is the cancel's own id.
    pub client_order_id: String,
    /// The client order id of the cancelled order, in the reply to a cancel.
    pub orig_client_order_id: Option<String>,
    /// The ordered quantity.
    pub orig_qty: Decimal,
    /// The filled quantity, cumulative.
    pub executed_qty: Decimal,
    /// The status.
    pub status: VenueStatus,
    /// The time in force.
    pub time_in_force: String,
    /// The order type.
    #[serde(rename = "type")]
    pub order_type: String,
    /// `BUY` or `SELL`.
    pub side: String,
    /// When the order was created, in milliseconds, in the reply to a query.
    pub time: Option<i64>,
    /// When the request took effect, in milliseconds, in the reply to a cancel.
    pub transact_time: Option<i64>,
}

impl OrderState {
    /// Returns the client order id that the order was placed with.
    pub fn placed_client_order_id(&self) -> &str {
        match self.orig_client_order_id.as_deref() {
            Some(original) if !original.is_empty() => original,
            _ => &self.client_order_id,
        }
    }
}

/// The reply to a placement. An ACK has no state; a RESULT has no fills.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedOrder {
    /// The symbol, as the venue spells it.
    pub symbol: String,
    /// The venue's id of the order.
    pub order_id: i64,
    /// The client order id.
    pub client_order_id: String,
    /// When the request took effect, in milliseconds.
    pub transact_time: i64,
    /// The ordered quantity.
    pub orig_qty: Option<Decimal>,
    /// The filled quantity.
    pub executed_qty: Option<Decimal>,
    /// The status.
    pub status: Option<VenueStatus>,
    /// The fills.
    #[serde(default)]
    pub fills: Vec<PlacedFill>,
}

/// One fill in the reply to a placement. It has no time of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedFill {
    /// The price.
    pub price: Decimal,
    /// The quantity.
    pub qty: Decimal,
    /// The commission; below zero for a rebate.
    pub commission: Decimal,
    /// The asset of the commission.
    pub commission_asset: String,
    /// The trade's id.
    pub trade_id: i64,
}
