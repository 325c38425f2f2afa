//! The order log's REST documents: orders, their executions, and pages of both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::reason::Reason;
use crate::domain::sort_direction::SortDirection;
use crate::domain::time::Timestamp;
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::UtcTimestamp;

/// The word that stands for every open status in the filter by status.
pub const OPEN_STATUS: &str = "open";

/// Returns the words of the filter by status.
pub fn status_words() -> impl Iterator<Item = &'static str> {
    let statuses = OrderStatus::ALL.iter().map(|status| status.as_str());
    std::iter::once(OPEN_STATUS).chain(statuses)
}

/// One order of the order log. An order that a risk rule denied has the status `rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderRecord {
    /// The order's number, the journal sequence of its first event: the same on every sidecar and after a rebuild.
    pub id: u64,
    /// The router's id of the order, the `order_id` of every other document: 1-36 characters of `[A-Za-z0-9_-]`.
    pub external_order_id: String,
    /// The caller's id of the order, the `client_order_id` of every other document: 1-36 printable ASCII characters.
    pub correlation_id: String,
    /// The account that the order belongs to, 1-64 characters of `[A-Za-z0-9_-]`.
    pub account_id: String,
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
    /// The ordered quantity, in units of the instrument: above zero and below 10^11, at most 8 decimals.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// The cumulative filled quantity, in units of the instrument; 0 before the first fill.
    #[schemars(with = "PlainNumber")]
    pub filled_quantity: Decimal,
    /// The limit price, in the quote currency, above zero and below 10^9; null for a market order.
    #[schemars(with = "Option<PlainNumber>")]
    pub limit_price: Option<Decimal>,
    /// The stop price; always null, because this version has no stop orders.
    #[schemars(with = "Option<PlainNumber>")]
    pub stop_price: Option<Decimal>,
    /// The order's status.
    pub status: OrderStatus,
    /// How long the order stays open: `GTC`, `IOC`, `FOK` or `DAY`.
    pub time_in_force: TimeInForce,
    /// When the router accepted the order.
    #[schemars(with = "UtcTimestamp")]
    pub submitted_at: Timestamp,
    /// When the order expires by itself; null for an order that does not.
    #[schemars(with = "Option<UtcTimestamp>")]
    pub expires_at: Option<Timestamp>,
    /// The notes on the order, in journal order, separated by line feeds; null without notes.
    pub notes: Option<String>,
    /// The intent's tags and the tags that notes have added, each of 1-64 characters.
    pub tags: Vec<String>,
    /// When the order's first event was journaled.
    #[schemars(with = "UtcTimestamp")]
    pub created_at: Timestamp,
    /// When the order last changed, notes included.
    #[schemars(with = "UtcTimestamp")]
    pub updated_at: Timestamp,
    /// The mode that the order was submitted in.
    pub mode: Mode,
    /// Why the order was rejected, cancelled or expired, or why its outcome is unknown; null otherwise.
    pub reason: Option<Reason>,
    /// The order's executions, the oldest first; in a page of orders only the first 100.
    pub executions: Vec<ExecutionRecord>,
    /// The number of the order's executions.
    pub executions_total: u64,
}

/// One execution (a fill) of the order log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionRecord {
    /// The execution's number, the sequence of its journal entry × 4096 + its index there: the same on every sidecar and
    /// after a rebuild.
    pub id: u64,
    /// The number of the order, its `id` in the order log.
    pub order_id: u64,
    /// The venue's id of the fill, the `exec_id` of an execution report.
    pub external_execution_id: String,
    /// The caller's id of the order: its `client_order_id`.
    pub correlation_id: String,
    /// The account that the order belongs to.
    pub account_id: String,
    /// The normalised symbol.
    pub symbol: String,
    /// The order's side: `buy` or `sell`.
    pub side: Side,
    /// The filled quantity, in units of the instrument, above zero.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// The fill price, in the quote currency, above zero.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
    /// The fee, in units of `fee_currency`.
    #[schemars(with = "PlainNumber")]
    pub fees: Decimal,
    /// The currency or asset that the fee is paid in.
    pub fee_currency: String,
    /// Whether the fill added or removed liquidity; always null, because no venue of this version reports it.
    pub liquidity: Option<String>,
    /// When the venue executed the fill.
    #[schemars(with = "UtcTimestamp")]
    pub executed_at: Timestamp,
    /// When the fill was journaled.
    #[schemars(with = "UtcTimestamp")]
    pub created_at: Timestamp,
    /// The notes on the order, separated by line feeds; null without notes.
    pub notes: Option<String>,
    /// The tags of the order, each of 1-64 characters.
    pub tags: Vec<String>,
}

/// One page of orders, the newest first unless `sort` is `asc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderPage {
    /// The orders of the page.
    pub items: Vec<OrderRecord>,
    /// The filters of the request and the total number of items.
    pub metadata: PageMetadata,
}

/// One page of executions, the newest first unless `sort` is `asc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionPage {
    /// The executions of the page.
    pub items: Vec<ExecutionRecord>,
    /// The filters of the request and the total number of items.
    pub metadata: PageMetadata,
}

/// The filters and the position of a page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PageMetadata {
    /// The maximum number of items on the page.
    pub limit: u64,
    /// The number of matching items before the page.
    pub offset: u64,
    /// The exact number of items that match the filters, over all pages.
    pub total: u64,
    /// The direction of the list: `desc` (the newest first) or `asc`.
    #[serde(default)]
    pub sort: SortDirection,
    /// The cursor of the request; null without one.
    #[serde(default)]
    pub after: Option<String>,
    /// The cursor of the next page, the value of `after` in its request; null when no item follows. It is the `id` of the
    /// page's last item.
    #[serde(default)]
    pub next: Option<String>,
    /// The account filter; null without one.
    pub account_id: Option<String>,
    /// The symbol filter, normalised; null without one.
    pub symbol: Option<String>,
    /// The start of the time range, inclusive; null without one.
    #[schemars(with = "Option<UtcTimestamp>")]
    pub start: Option<Timestamp>,
    /// The end of the time range, inclusive; null without one.
    #[schemars(with = "Option<UtcTimestamp>")]
    pub end: Option<Timestamp>,
    /// The tag filter, in lower case; null without one.
    pub tag: Option<String>,
    /// The strategy filter, in lower case; null without one.
    pub strategy: Option<String>,
    /// The broker filter; null without one.
    pub broker: Option<String>,
    /// The filter by the order's status, several separated by commas; null without one. `open` is resolved.
    pub status: Option<String>,
    /// The filter by the order's side; null without one.
    #[serde(default)]
    pub side: Option<Side>,
    /// The filter by the order's last change, exclusive; null without one.
    #[serde(default)]
    #[schemars(with = "Option<UtcTimestamp>")]
    pub updated_after: Option<Timestamp>,
    /// The filter by the caller's id of the order; null without one.
    pub client_order_id: Option<String>,
    /// The filter by the order's number, which only `GET /executions` has; null without one.
    #[serde(default)]
    pub order_id: Option<u64>,
}
