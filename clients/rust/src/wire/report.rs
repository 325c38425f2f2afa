//! The `ExecutionReport` (FIX 35=8): the reply to an intent, and the journal's record of an order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::id::OrderId;
use crate::domain::intent::Intent;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::quantity::Price;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::wire::reported_replace::ReportedReplace;
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::UtcTimestamp;
use crate::wire::settlement::ReportSettlement;

/// The full state of one order after its latest change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionReport {
    /// The router's id of the order (FIX 37), stable over its life: 1-36 characters of `[A-Za-z0-9_-]`. Empty in a
    /// receipt of an order that has no id yet.
    pub order_id: String,
    /// The venue's id of the order (FIX 198); null until the venue has assigned one.
    pub broker_order_id: Option<String>,
    /// The caller's id of the order (FIX 11), 1-36 printable ASCII characters. With `account_id` it is the idempotency
    /// key.
    pub client_order_id: String,
    /// The account that the order belongs to, 1-64 characters of `[A-Za-z0-9_-]`.
    pub account_id: String,
    /// The order's status (FIX 39).
    pub status: OrderStatus,
    /// The broker that the order is routed to, 1-64 characters of `[A-Za-z0-9_-]`.
    pub broker: String,
    /// The venue that the order trades at, 1-64 characters of `[A-Za-z0-9_.-]`.
    pub venue: String,
    /// The normalised symbol, 1-32 characters, such as `BTCUSDT`.
    pub symbol: String,
    /// The side: `buy` or `sell`.
    pub side: Side,
    /// The order type: `market` or `limit`.
    pub order_type: OrderType,
    /// How long the order stays open: `GTC`, `IOC`, `FOK` or `DAY`.
    pub time_in_force: TimeInForce,
    /// The limit price in force, in the quote currency, above zero and below 10^9, at most 8 decimals; null for a market
    /// order.
    #[schemars(with = "Option<PlainNumber>")]
    pub price: Option<Decimal>,
    /// The ordered quantity in force, in units of the instrument: above zero and below 10^11, at most 8 decimals.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// The cumulative filled quantity, in units of the instrument; 0 before the first fill. A venue may fill beyond
    /// `quantity`.
    #[schemars(with = "PlainNumber")]
    pub filled_quantity: Decimal,
    /// The quantity that is still open, in units of the instrument: `quantity` − `filled_quantity`, and 0 once the order has
    /// ended.
    #[schemars(with = "PlainNumber")]
    pub leaves_quantity: Decimal,
    /// The quantity-weighted mean price of the fills, in the quote currency, with at most 12 decimals, rounded half-even;
    /// null before the first fill.
    #[schemars(with = "Option<PlainNumber>")]
    pub avg_price: Option<Decimal>,
    /// When the router accepted the order.
    #[schemars(with = "UtcTimestamp")]
    pub submitted_at: Timestamp,
    /// When the order last changed.
    #[schemars(with = "UtcTimestamp")]
    pub updated_at: Timestamp,
    /// The latest fills, at most 100, the oldest first.
    pub fills: Vec<ReportedFill>,
    /// The number of fills of the order, those that `fills` leaves out included.
    pub fills_total: u32,
    /// The intent's tags, at most 32, each of 1-64 characters.
    pub tags: Vec<String>,
    /// The mode that the order was submitted in.
    pub mode: Mode,
    /// The version of the order's state: 1, 2, 3 … per order. A consumer keeps the highest. 0 marks a receipt.
    pub version: u32,
    /// Why the order was rejected, cancelled or expired, or why its outcome is unknown; null otherwise.
    pub reason: Option<Reason>,
    /// The latest replace of the order (FIX 35=G). Absent on an order that was never replaced. In the reply to a repeated
    /// replace it is that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Box<ReportedReplace>>,
    /// What the report moved in the shared sums, and what rebuilds the order from it. Present on the journal only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Box<ReportSettlement>>,
}

/// One fill of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedFill {
    /// The venue's id of the fill (FIX 17).
    pub exec_id: String,
    /// The filled quantity, in units of the instrument, above zero.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// The fill price, in the quote currency, above zero.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
    /// When the venue executed the fill.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
    /// The fee, in units of `fee_currency`.
    #[schemars(with = "PlainNumber")]
    pub fee: Decimal,
    /// The currency or asset that the fee is paid in.
    pub fee_currency: String,
}

impl ExecutionReport {
    /// Returns a receipt: the reply for an order that has no journaled report yet. Its version is 0.
    pub fn receipt(intent: &Intent, order_id: Option<&OrderId>, mode: Mode, reason: Reason) -> Self {
        let now = Timestamp::now();
        Self {
            order_id: order_id.map(ToString::to_string).unwrap_or_default(),
            broker_order_id: None,
            client_order_id: intent.client_order_id.to_string(),
            account_id: intent.account_id.to_string(),
            status: OrderStatus::Unknown,
            broker: intent.broker.to_string(),
            venue: intent.venue.to_string(),
            symbol: intent.symbol.to_string(),
            side: intent.side,
            order_type: intent.order_type,
            time_in_force: intent.time_in_force,
            price: intent.price.map(Price::decimal),
            quantity: intent.quantity.decimal(),
            filled_quantity: Decimal::ZERO,
            leaves_quantity: intent.quantity.decimal(),
            avg_price: None,
            submitted_at: now,
            updated_at: now,
            fills: Vec::new(),
            fills_total: 0,
            tags: intent.tags.iter().map(ToString::to_string).collect(),
            mode,
            version: 0,
            reason: Some(reason),
            replace: None,
            settlement: None,
        }
    }

    /// Reports whether this is a receipt, which is never journaled.
    pub fn is_receipt(&self) -> bool {
        self.version == 0
    }

    /// Reports whether the order's outcome is unknown (REST 202).
    pub fn is_unknown(&self) -> bool {
        self.status == OrderStatus::Unknown
    }

    /// Returns the denial as a fault if a risk rule denied the order.
    pub fn denial(&self) -> Option<Fault> {
        let reason = self.reason.as_ref().filter(|_| self.status == OrderStatus::Rejected)?;
        Fault::from_risk_reason(reason).map(|fault| fault.with_client_order_id(&self.client_order_id))
    }

    /// Returns the report's JSON.
    pub fn encode(&self) -> Vec<u8> {
        // Cannot fail: the report holds only strings and exact numbers.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Decodes a report. Unknown fields are ignored, so that a report of a newer version stays readable.
    ///
    /// # Errors
    /// When the body is not a report.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        // Checking the encoding of the whole body at once is cheaper than that of each text in it.
        match std::str::from_utf8(body) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(body),
        }
    }

    /// Returns the reason code if this is a receipt.
    pub fn receipt_code(&self) -> Option<ReasonCode> {
        self.reason
            .as_ref()
            .filter(|_| self.is_receipt())
            .map(|reason| reason.code)
    }
}
