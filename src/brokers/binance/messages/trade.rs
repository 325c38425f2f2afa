//! Trades: the reply to `GET /api/v3/myTrades` (`rest-api.md`, "Account trade list").

use serde::Deserialize;

use crate::domain::decimal::Decimal;

/// One trade of an order of the account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trade {
    /// The symbol, as the venue spells it.
    pub symbol: String,
    /// The trade's id, unique within the symbol.
    pub id: i64,
    /// The order's id.
    pub order_id: i64,
    /// The price.
    pub price: Decimal,
    /// The quantity.
    pub qty: Decimal,
    /// The commission; below zero for a rebate.
    pub commission: Decimal,
    /// The asset of the commission: the received asset, or a third one.
    pub commission_asset: String,
    /// When the trade took place, in milliseconds.
    pub time: i64,
    /// Whether the account bought.
    pub is_buyer: bool,
}
