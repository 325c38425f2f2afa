//! Everything that changes the exchange: a command. The state log keeps commands; replaying them rebuilds the state.

use serde::{Deserialize, Serialize};

use crate::venue::amount::Amount;
use crate::venue::order::NewOrder;
use crate::venue::settings::{CommissionSettings, SymbolSettings};
use crate::venue::words::{CancelRestriction, ReplaceMode, SymbolStatus};

/// An order that a client names by one id or by both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReference {
    /// The account.
    pub account: String,
    /// The symbol.
    pub symbol: String,
    /// The venue's id.
    pub order_id: Option<u64>,
    /// The client's id.
    pub client_order_id: Option<String>,
}

/// A cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// The order.
    pub order: OrderReference,
    /// The client's id of the cancel itself.
    pub request_id: String,
    /// The only status in which the order is to be cancelled.
    pub restriction: Option<CancelRestriction>,
}

/// A price and a quantity of the market maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteLevel {
    /// The price.
    pub price: Amount,
    /// The quantity of the base asset.
    pub quantity: Amount,
}

/// A change of the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Adds symbols and changes the settings of those that exist.
    Configure {
        /// The symbols.
        symbols: Vec<SymbolSettings>,
        /// The commissions.
        commissions: CommissionSettings,
    },
    /// Opens an account; nothing if there is one.
    OpenAccount {
        /// The account.
        account: String,
        /// Its assets and amounts.
        balances: Vec<(String, Amount)>,
    },
    /// Deposits an amount, or withdraws a negative one.
    Transfer {
        /// The account.
        account: String,
        /// The asset.
        asset: String,
        /// The amount.
        amount: Amount,
    },
    /// Places an order.
    Place(NewOrder),
    /// Cancels an order.
    Cancel(CancelRequest),
    /// Cancels every open order of an account and a symbol.
    CancelAll {
        /// The account.
        account: String,
        /// The symbol.
        symbol: String,
        /// The client's id of the cancel.
        request_id: String,
    },
    /// Cancels an order and places another one.
    Replace {
        /// The cancel.
        cancel: CancelRequest,
        /// The new order.
        order: NewOrder,
        /// Whether the new order is placed when the cancel fails.
        mode: ReplaceMode,
        /// Why the new order is refused before it is judged: the code and the text of a limit of unfilled orders.
        refusal: Option<(i32, String)>,
    },
    /// Reduces the quantity of an order, which keeps its place in the book.
    Amend {
        /// The order.
        order: OrderReference,
        /// The new quantity.
        quantity: Amount,
        /// The client's new id of the order.
        client_order_id: String,
    },
    /// Fills an open order from outside of the book, at its own price.
    Fill {
        /// The venue's id of the order.
        order_id: u64,
        /// The quantity; at most what is open is filled.
        quantity: Amount,
    },
    /// Replaces the market maker's orders of a symbol.
    Quote {
        /// The symbol.
        symbol: String,
        /// Its bids.
        bids: Vec<QuoteLevel>,
        /// Its asks.
        asks: Vec<QuoteLevel>,
    },
    /// Changes whether a symbol trades.
    SetStatus {
        /// The symbol.
        symbol: String,
        /// The new status.
        status: SymbolStatus,
    },
}
