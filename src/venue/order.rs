//! An order as the venue keeps it, and a trade.

use serde::{Deserialize, Serialize};

use crate::venue::amount::Amount;
use crate::venue::words::{OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce};

/// What a client asks for. Amounts that the type does not use are zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// The account that the order trades for.
    pub account: String,
    /// The symbol, such as `BTCUSDT`.
    pub symbol: String,
    /// The side.
    pub side: Side,
    /// The type.
    pub kind: OrderType,
    /// The time in force; `GTC` where the type has none.
    pub time_in_force: TimeInForce,
    /// The quantity of the base asset; zero for a market order by quote quantity.
    pub quantity: Amount,
    /// The quantity of the quote asset that a market order spends or receives.
    pub quote_quantity: Amount,
    /// The limit price.
    pub price: Amount,
    /// The stop price.
    pub stop_price: Amount,
    /// The client's id of the order.
    pub client_order_id: String,
    /// What happens when the order would trade with one of its own account.
    pub self_trade_prevention: SelfTradePrevention,
}

/// An order that the venue has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The venue's id, unique over all symbols.
    pub id: u64,
    /// What was asked for. An amendment changes the quantity and the client's id.
    pub terms: NewOrder,
    /// The status.
    pub status: OrderStatus,
    /// The filled quantity of the base asset.
    pub executed: Amount,
    /// The filled quantity in the quote asset.
    pub executed_quote: Amount,
    /// The quantity that self-trade prevention expired.
    pub prevented: Amount,
    /// The last prevented match that the order took part in.
    pub prevented_match_id: Option<u64>,
    /// The balance that the order locks: the quote asset for a buy, the base asset for a sell.
    pub locked: Amount,
    /// When it was accepted, in milliseconds since 1970.
    pub created_at: u64,
    /// When it last changed, in milliseconds since 1970.
    pub updated_at: u64,
    /// When it entered the book or began to trade; `None` while it waits for its stop price.
    pub working_since: Option<u64>,
    /// The order's place among orders of the same price: lower trades first.
    pub priority: u64,
}

impl Order {
    /// Returns an order that was accepted at a moment, in milliseconds since 1970, and works from then on.
    pub fn new(id: u64, terms: NewOrder, at: u64) -> Self {
        Self {
            id,
            terms,
            status: OrderStatus::New,
            executed: Amount::ZERO,
            executed_quote: Amount::ZERO,
            prevented: Amount::ZERO,
            prevented_match_id: None,
            locked: Amount::ZERO,
            created_at: at,
            updated_at: at,
            working_since: Some(at),
            priority: 0,
        }
    }

    /// Returns the quantity that can still trade.
    pub fn remaining(&self) -> Amount {
        match self.status.is_open() {
            true => self.terms.quantity - self.executed - self.prevented,
            false => Amount::ZERO,
        }
    }

    /// Reports whether the order is on the book.
    pub fn is_on_book(&self) -> bool {
        self.status.is_open() && self.working_since.is_some() && self.terms.kind != OrderType::Market
    }

    /// Returns why the order expired (binance-spot-api-docs, enums.md, "Expiry Reasons"); `None` if it has not.
    pub fn expiry_reason(&self) -> Option<&'static str> {
        match (self.status, self.terms.kind, self.terms.time_in_force) {
            (OrderStatus::Expired, OrderType::Market, _) => Some("INSUFFICIENT_LIQUIDITY"),
            (OrderStatus::Expired, _, TimeInForce::Ioc) => Some("UNFILLED_IOC_QUANTITY_EXPIRED"),
            (OrderStatus::Expired, _, TimeInForce::Fok) => Some("UNFILLED_FOK_ORDER_EXPIRED"),
            _ => None,
        }
    }

    /// Reports whether the order waits for its stop price.
    pub fn waits_for_stop(&self) -> bool {
        self.status.is_open() && self.working_since.is_none()
    }
}

/// One side of a trade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeSide {
    /// The account.
    pub account: String,
    /// The order.
    pub order_id: u64,
    /// The client's id of the order.
    pub client_order_id: String,
    /// The side of the order.
    pub side: Side,
    /// Whether the order was on the book.
    pub is_maker: bool,
    /// The commission, in the received asset.
    pub commission: Amount,
    /// The received asset.
    pub commission_asset: String,
}

/// A trade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The id, unique within the symbol.
    pub id: u64,
    /// The symbol.
    pub symbol: String,
    /// The price.
    pub price: Amount,
    /// The quantity of the base asset.
    pub quantity: Amount,
    /// The quantity of the quote asset.
    pub quote_quantity: Amount,
    /// When it happened, in milliseconds since 1970.
    pub time: u64,
    /// The order on the book, then the incoming one.
    pub sides: [TradeSide; 2],
}
