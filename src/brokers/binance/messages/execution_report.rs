//! The event `executionReport` of the user data stream (`user-data-stream.md`, "Order update").

use serde::Deserialize;

use crate::brokers::binance::messages::order_state::VenueStatus;
use crate::domain::decimal::Decimal;

/// Why the event was sent (`enums.md`, "Execution types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionType {
    /// Accepted by the engine.
    New,
    /// Cancelled on request.
    Canceled,
    /// Amended.
    Replaced,
    /// Rejected.
    Rejected,
    /// A fill.
    Trade,
    /// Ended by the rules of its type, or by the venue.
    Expired,
    /// Ended by self-trade prevention.
    TradePrevention,
}

/// An update of an order. `last` fields are of this event alone, `cumulative` ones of the order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExecutionReport {
    /// The symbol, as the venue spells it.
    #[serde(rename = "s")]
    pub symbol: String,
    /// The client order id. Where the order is cancelled or amended, the id of that request.
    #[serde(rename = "c")]
    pub client_order_id: String,
    /// The client order id of the order that is cancelled or amended, else empty.
    #[serde(rename = "C", default)]
    pub original_client_order_id: Option<String>,
    /// `BUY` or `SELL`.
    #[serde(rename = "S")]
    pub side: String,
    /// The order type.
    #[serde(rename = "o")]
    pub order_type: String,
    /// The time in force.
    #[serde(rename = "f")]
    pub time_in_force: String,
    /// The ordered quantity.
    #[serde(rename = "q")]
    pub quantity: Decimal,
    /// Why the event was sent.
    #[serde(rename = "x")]
    pub execution_type: ExecutionType,
    /// The order's status after the event.
    #[serde(rename = "X")]
    pub status: VenueStatus,
    /// Why the order was rejected, else `NONE`.
    #[serde(rename = "r", default)]
    pub reject_reason: Option<String>,
    /// Why the venue ended the order, where it says so.
    #[serde(rename = "eR", default)]
    pub expiry_reason: Option<serde_json::Value>,
    /// The venue's id of the order.
    #[serde(rename = "i")]
    pub order_id: i64,
    /// The quantity of this fill.
    #[serde(rename = "l")]
    pub last_quantity: Decimal,
    /// The filled quantity of the order.
    #[serde(rename = "z")]
    pub cumulative_quantity: Decimal,
    /// The price of this fill.
    #[serde(rename = "L")]
    pub last_price: Decimal,
    /// The commission of this fill; below zero for a rebate.
    #[serde(rename = "n")]
    pub commission: Decimal,
    /// The asset of the commission; none without a commission.
    #[serde(rename = "N")]
    pub commission_asset: Option<String>,
    /// When the event took place, in milliseconds.
    #[serde(rename = "T")]
    pub transaction_time_ms: i64,
    /// The trade's id; -1 where the event is no fill.
    #[serde(rename = "t")]
    pub trade_id: i64,
}

impl ExecutionReport {
    /// Returns the client order id that the order has after the event: on a cancel `c` is the id of that request, and `C` the
    /// order's. On an amendment `c` is the order's from now on.
    pub fn placed_client_order_id(&self) -> &str {
        let is_request = self.execution_type == ExecutionType::Canceled;
        match self.original_client_order_id.as_deref() {
            Some(original) if is_request && !original.is_empty() => original,
            _ => &self.client_order_id,
        }
    }
}
