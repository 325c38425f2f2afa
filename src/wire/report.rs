//! The `ExecutionReport`: the answer to an intent, and the journal's event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::id::OrderId;
use crate::domain::intent::Intent;
use crate::domain::order::Order;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::Fill;
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::UtcTimestamp;
use crate::wire::settlement::ReportSettlement;

/// The state of one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionReport {
    /// The router's stable id of the order; empty in a receipt that does not know it yet.
    pub order_id: String,
    /// The venue's own id, once known.
    pub broker_order_id: Option<String>,
    /// The caller's id.
    pub client_order_id: String,
    /// The account.
    pub account_id: String,
    /// The state.
    pub status: OrderStatus,
    /// The broker.
    pub broker: String,
    /// The venue.
    pub venue: String,
    /// The normalised symbol.
    pub symbol: String,
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// How long it stands.
    pub time_in_force: TimeInForce,
    /// The limit price; null for market orders.
    #[schemars(with = "Option<PlainNumber>")]
    pub price: Option<Decimal>,
    /// What was ordered.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// What has been filled.
    #[schemars(with = "PlainNumber")]
    pub filled_quantity: Decimal,
    /// What is left: quantity − filled while live, 0 once ended.
    #[schemars(with = "PlainNumber")]
    pub leaves_quantity: Decimal,
    /// The quantity-weighted mean of the fills, 12 decimals, half-even.
    #[schemars(with = "Option<PlainNumber>")]
    pub avg_price: Option<Decimal>,
    /// When the router took it.
    #[schemars(with = "UtcTimestamp")]
    pub submitted_at: Timestamp,
    /// When it last changed.
    #[schemars(with = "UtcTimestamp")]
    pub updated_at: Timestamp,
    /// The last 100 fills.
    pub fills: Vec<ReportedFill>,
    /// How many fills there were.
    pub fills_total: u32,
    /// The intent's tags.
    pub tags: Vec<String>,
    /// The mode it was submitted in.
    pub mode: Mode,
    /// 1, 2, 3 … per order; a consumer keeps the highest. 0 marks a receipt.
    pub version: u32,
    /// Why it was rejected, cancelled, expired or is unknown.
    pub reason: Option<Reason>,
    /// On the journal only: what the event moved, and what is needed to rebuild the shared state from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Box<ReportSettlement>>,
}

/// One fill of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedFill {
    /// The venue's id of the trade.
    pub exec_id: String,
    /// How much.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// At which price.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
    /// The fee, in `fee_currency`.
    #[schemars(with = "PlainNumber")]
    pub fee: Decimal,
    /// The currency of the fee.
    pub fee_currency: String,
}

impl ExecutionReport {
    /// Returns the report of an order, without its settlement.
    pub fn of(order: &Order) -> Self {
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
            fills: order.fills.iter().map(ReportedFill::of).collect(),
            fills_total: u32::try_from(order.fill_count()).unwrap_or(u32::MAX),
            tags: order.tags.iter().map(ToString::to_string).collect(),
            mode: order.mode,
            version: order.version,
            reason: order.reason.clone(),
            settlement: None,
        }
    }

    /// Returns a receipt: the answer where there is no journaled report to tell yet.
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
            settlement: None,
        }
    }

    /// Whether this is a receipt, which is not on the journal.
    pub fn is_receipt(&self) -> bool {
        self.version == 0
    }

    /// Whether what became of the order is not known (REST 202).
    pub fn is_unknown(&self) -> bool {
        self.status == OrderStatus::Unknown
    }

    /// Returns why a risk rule denied the order, when one did.
    pub fn denial(&self) -> Option<crate::fault::Fault> {
        let reason = self.reason.as_ref().filter(|_| self.status == OrderStatus::Rejected)?;
        crate::fault::Fault::from_risk_reason(reason).map(|fault| fault.with_client_order_id(&self.client_order_id))
    }

    /// Returns the report's JSON.
    pub fn encode(&self) -> Vec<u8> {
        // Strings and exact numbers only: there is nothing in it that JSON cannot hold.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a report; fields it does not know are passed over, so that newer ones stay readable.
    ///
    /// # Errors
    /// When it is not a report.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// Returns a receipt's reason code, if this is one.
    pub fn receipt_code(&self) -> Option<ReasonCode> {
        self.reason
            .as_ref()
            .filter(|_| self.is_receipt())
            .map(|reason| reason.code)
    }
}

impl ReportedFill {
    fn of(fill: &Fill) -> Self {
        Self {
            exec_id: fill.exec_id.clone(),
            quantity: fill.quantity.decimal(),
            price: fill.price.decimal(),
            timestamp: fill.timestamp,
            fee: fill.fee,
            fee_currency: fill.fee_currency.clone(),
        }
    }

    /// Returns the fill as the domain has it.
    ///
    /// # Errors
    /// When quantity or price is out of range.
    pub fn to_fill(&self) -> Result<Fill, crate::domain::quantity::AmountError> {
        Ok(Fill {
            exec_id: self.exec_id.clone(),
            quantity: Quantity::new(self.quantity)?,
            price: Price::new(self.price)?,
            timestamp: self.timestamp,
            fee: self.fee,
            fee_currency: self.fee_currency.clone(),
        })
    }
}
