//! The order log over REST: orders, their executions, and pages of both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::UtcTimestamp;

/// An order as the order log has it; those a risk rule denied are `rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderRecord {
    /// The order's number: the same on every sidecar and after a rebuild.
    pub id: u64,
    /// The router's stable id of the order.
    pub external_order_id: String,
    /// The caller's id.
    pub correlation_id: String,
    /// The account.
    pub account_id: String,
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
    /// What was ordered.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// What has been filled.
    #[schemars(with = "PlainNumber")]
    pub filled_quantity: Decimal,
    /// The limit price; null for market orders.
    #[schemars(with = "Option<PlainNumber>")]
    pub limit_price: Option<Decimal>,
    /// The stop price; null, since no order of this version has one.
    #[schemars(with = "Option<PlainNumber>")]
    pub stop_price: Option<Decimal>,
    /// The state.
    pub status: OrderStatus,
    /// How long it stands.
    pub time_in_force: TimeInForce,
    /// When the router took it.
    #[schemars(with = "UtcTimestamp")]
    pub submitted_at: Timestamp,
    /// When it expires by itself; null where it does not.
    #[schemars(with = "Option<UtcTimestamp>")]
    pub expires_at: Option<Timestamp>,
    /// What people have noted, in the order of the journal, a line each; null where nobody has.
    pub notes: Option<String>,
    /// The intent's tags, and those that were added with notes.
    pub tags: Vec<String>,
    /// When the journal took its first event.
    #[schemars(with = "UtcTimestamp")]
    pub created_at: Timestamp,
    /// When it last changed, notes included.
    #[schemars(with = "UtcTimestamp")]
    pub updated_at: Timestamp,
    /// The mode it was submitted in.
    pub mode: Mode,
    /// Why it was rejected, cancelled, expired or is unknown.
    pub reason: Option<Reason>,
    /// Its executions, the oldest first; in a list the first 100.
    pub executions: Vec<ExecutionRecord>,
    /// How many executions it has.
    pub executions_total: u64,
}

/// One execution (a fill) as the order log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionRecord {
    /// The execution's number: the same on every sidecar and after a rebuild.
    pub id: u64,
    /// The number of its order.
    pub order_id: u64,
    /// The venue's id of the trade.
    pub external_execution_id: String,
    /// The caller's id of the order.
    pub correlation_id: String,
    /// The account.
    pub account_id: String,
    /// The symbol.
    pub symbol: String,
    /// Bought or sold.
    pub side: Side,
    /// How much.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// At which price.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
    /// The fee, in `fee_currency`.
    #[schemars(with = "PlainNumber")]
    pub fees: Decimal,
    /// The currency of the fee.
    pub fee_currency: String,
    /// Whether it made or took liquidity; null, since no venue of this version tells.
    pub liquidity: Option<String>,
    /// When the venue executed it.
    #[schemars(with = "UtcTimestamp")]
    pub executed_at: Timestamp,
    /// When the journal took it.
    #[schemars(with = "UtcTimestamp")]
    pub created_at: Timestamp,
    /// What people have noted on its order.
    pub notes: Option<String>,
    /// The tags of its order.
    pub tags: Vec<String>,
}

/// A page of the order log, the newest order first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderPage {
    /// The orders.
    pub items: Vec<OrderRecord>,
    /// What was asked for, and how many there are in all.
    pub metadata: PageMetadata,
}

/// A page of the executions, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionPage {
    /// The executions.
    pub items: Vec<ExecutionRecord>,
    /// What was asked for, and how many there are in all.
    pub metadata: PageMetadata,
}

/// What a page is of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PageMetadata {
    /// The most items of the page.
    pub limit: u64,
    /// How many items come before the page.
    pub offset: u64,
    /// How many items there are in all, exactly.
    pub total: u64,
    /// The filter by account.
    pub account_id: Option<String>,
    /// The filter by symbol, normalised.
    pub symbol: Option<String>,
    /// From when on, included.
    #[schemars(with = "Option<UtcTimestamp>")]
    pub start: Option<Timestamp>,
    /// Until when, included.
    #[schemars(with = "Option<UtcTimestamp>")]
    pub end: Option<Timestamp>,
    /// The filter by tag, in lower case.
    pub tag: Option<String>,
    /// The filter by strategy, in lower case.
    pub strategy: Option<String>,
    /// The filter by broker.
    pub broker: Option<String>,
    /// The filter by the order's state.
    pub status: Option<OrderStatus>,
    /// The filter by the caller's id.
    pub client_order_id: Option<String>,
    /// The filter by the order's number; of executions only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<u64>,
}
