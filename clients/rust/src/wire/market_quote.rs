//! The `MarketQuote`: the source of a reference price.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::domain::quantity::Price;
use crate::domain::quote::{Quote, QuoteError};
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::wire::schema_numbers::{NumberInput, PriceInput};
use crate::wire::schema_patterns::TimestampInput;
use crate::wire::strict_object::StrictObject;

/// A price of one instrument, published by a source of market data. The reference price is `last`; without it, the middle
/// of `bid` and `ask`. Further fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("anyOf" = json!([
    {"properties": {"last": {"not": {"type": "null"}}}, "required": ["last"]},
    {"properties": {"bid": {"not": {"type": "null"}}, "ask": {"not": {"type": "null"}}}, "required": ["bid", "ask"]}
])))]
pub struct MarketQuote {
    /// The best bid, in the quote currency: above zero, below 10^9, at most 8 decimals, and not above `ask`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub bid: Option<NumberInput>,
    /// The best ask, in the quote currency: above zero, below 10^9, at most 8 decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub ask: Option<NumberInput>,
    /// The price of the last trade, in the quote currency: above zero, below 10^9, at most 8 decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub last: Option<NumberInput>,
    /// When the market set the price, RFC 3339, at most 5 s ahead. An older quote never replaces a newer one.
    #[schemars(with = "TimestampInput")]
    pub timestamp: Timestamp,
}

/// Decodes a quote.
///
/// # Errors
/// `malformed` or `invalid_field`.
pub fn decode_quote(body: &[u8]) -> Result<Quote, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let bid = object.optional_amount("bid", Price::new)?;
    let ask = object.optional_amount("ask", Price::new)?;
    let last = object.optional_amount("last", Price::new)?;
    let timestamp = object
        .optional_timestamp("timestamp")?
        .ok_or_else(|| object.invalid_field("timestamp", "is required"))?;
    Quote::from_prices([bid, ask, last], timestamp).map_err(|error| {
        let field = match error {
            QuoteError::MissingPrice => "last",
            QuoteError::Crossed => "bid",
        };
        object.invalid_field(field, error)
    })
}
