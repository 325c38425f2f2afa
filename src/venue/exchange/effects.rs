//! What a command did: the answer to its caller, and what the streams report.

use std::collections::BTreeSet;

use crate::venue::amount::Amount;
use crate::venue::error::VenueError;
use crate::venue::order::{Order, Trade};
use crate::venue::words::ExecutionType;

/// A fill of an execution report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedFill {
    /// The trade's id.
    pub trade_id: u64,
    /// The price.
    pub price: Amount,
    /// The quantity of the base asset.
    pub quantity: Amount,
    /// The quantity of the quote asset.
    pub quote_quantity: Amount,
    /// The commission.
    pub commission: Amount,
    /// The asset of the commission.
    pub commission_asset: String,
    /// Whether the order was on the book.
    pub is_maker: bool,
}

/// A change of an order, with the order as it was right after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionReport {
    /// The order.
    pub order: Order,
    /// What happened.
    pub execution: ExecutionType,
    /// The id of the change.
    pub execution_id: u64,
    /// The fill, if it is one.
    pub fill: Option<ReportedFill>,
    /// The client's id that the change carries instead of the order's: that of the cancel.
    pub request_id: Option<String>,
    /// The client's id that the order had before.
    pub previous_client_order_id: Option<String>,
    /// The quantity that self-trade prevention expired by this change.
    pub prevented: Amount,
}

/// A deposit or a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferReport {
    /// The account.
    pub account: String,
    /// The asset.
    pub asset: String,
    /// The amount; negative for a withdrawal.
    pub amount: Amount,
}

/// What the streams report of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// The changes of orders, in their order.
    pub reports: Vec<ExecutionReport>,
    /// The balances that changed: account and asset.
    pub balances: BTreeSet<(String, String)>,
    /// Deposits and withdrawals.
    pub transfers: Vec<TransferReport>,
    /// The symbols whose book changed.
    pub symbols: BTreeSet<String>,
    /// The account of each order that got its first fill.
    pub first_fills: Vec<String>,
}

/// A match that self-trade prevention stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreventedMatch {
    /// Its id.
    pub id: u64,
    /// The order on the book.
    pub maker_order_id: u64,
    /// The price at which the orders would have traded.
    pub price: Amount,
    /// The quantity of the incoming order that expired; `None` if none did.
    pub taker_quantity: Option<Amount>,
    /// The quantity of the order on the book that expired; `None` if none did.
    pub maker_quantity: Option<Amount>,
}

/// An order that was placed, as it is after its first matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedOrder {
    /// The order.
    pub order: Order,
    /// Its fills.
    pub fills: Vec<ReportedFill>,
    /// Its prevented matches.
    pub prevented: Vec<PreventedMatch>,
}

/// An order that was cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanceledOrder {
    /// The order.
    pub order: Order,
    /// The client's id of the cancel.
    pub request_id: String,
}

/// An order that was amended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmendedOrder {
    /// The order.
    pub order: Order,
    /// The client's id that it had before.
    pub previous_client_order_id: String,
    /// The id of the change.
    pub execution_id: u64,
}

/// Both halves of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The cancel.
    pub cancel: Result<CanceledOrder, VenueError>,
    /// The new order; `None` if it was not attempted.
    pub order: Option<Result<PlacedOrder, VenueError>>,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing but that it is done.
    Done,
    /// The placed order.
    Placed(Box<PlacedOrder>),
    /// The cancelled orders.
    Canceled(Vec<CanceledOrder>),
    /// The replacement.
    Replaced(Box<Replacement>),
    /// The amended order.
    Amended(Box<AmendedOrder>),
    /// The fill.
    Filled(Box<Trade>),
}
