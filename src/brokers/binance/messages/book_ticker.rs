//! Best bid and ask: the reply to `GET /api/v3/ticker/bookTicker` and the stream `<symbol>@bookTicker`.

use serde::Deserialize;

use crate::domain::decimal::Decimal;

/// Best bid and ask of a symbol. REST and stream spell the fields differently. A side without an order has the price 0.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BookTicker {
    /// The symbol, as the venue spells it.
    #[serde(alias = "s")]
    pub symbol: String,
    /// The best bid.
    #[serde(rename = "bidPrice", alias = "b")]
    pub bid_price: Decimal,
    /// The best ask.
    #[serde(rename = "askPrice", alias = "a")]
    pub ask_price: Decimal,
}
