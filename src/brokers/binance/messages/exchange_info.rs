//! The reply to `GET /api/v3/exchangeInfo`: limits of requests, and the symbols with their filters.

use serde::Deserialize;

use crate::domain::decimal::Decimal;

/// What the venue trades, and how often it may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeInfo {
    /// The limits of requests.
    #[serde(default)]
    pub rate_limits: Vec<RateLimit>,
    /// The symbols.
    pub symbols: Vec<SymbolInfo>,
}

/// One limit. Its fields are optional: the venue says so of all limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// `REQUEST_WEIGHT`, `ORDERS`, `RAW_REQUESTS`.
    pub rate_limit_type: Option<String>,
    /// `SECOND`, `MINUTE`, `HOUR`, `DAY`.
    pub interval: Option<String>,
    /// The number of intervals in a window.
    pub interval_num: Option<u32>,
    /// The most that a window may count.
    pub limit: Option<u32>,
}

/// One symbol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymbolInfo {
    /// The symbol, as the venue spells it.
    pub symbol: String,
    /// `TRADING`, or why not: `HALT`, `BREAK`, `CANCEL_ONLY` and others.
    pub status: String,
    /// The traded asset.
    pub base_asset: String,
    /// The currency of the prices.
    pub quote_asset: String,
    /// The order types that the symbol allows.
    #[serde(default)]
    pub order_types: Vec<String>,
    /// The filters. One of an unknown type is kept as such.
    #[serde(default)]
    pub filters: Vec<SymbolFilter>,
}

/// One filter: the fields of all types that this adapter checks (`filters.md`). Zero disables a bound of a price.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymbolFilter {
    /// `PRICE_FILTER`, `LOT_SIZE`, `MARKET_LOT_SIZE`, `MIN_NOTIONAL`, `NOTIONAL` and others.
    pub filter_type: Option<String>,
    /// The lowest price.
    pub min_price: Option<Decimal>,
    /// The highest price.
    pub max_price: Option<Decimal>,
    /// The step of prices.
    pub tick_size: Option<Decimal>,
    /// The lowest quantity.
    pub min_qty: Option<Decimal>,
    /// The highest quantity.
    pub max_qty: Option<Decimal>,
    /// The step of quantities.
    pub step_size: Option<Decimal>,
    /// The lowest price × quantity.
    pub min_notional: Option<Decimal>,
    /// The highest price × quantity.
    pub max_notional: Option<Decimal>,
    /// Whether `minNotional` applies to market orders, in `MIN_NOTIONAL`.
    pub apply_to_market: Option<bool>,
    /// Whether `minNotional` applies to market orders, in `NOTIONAL`.
    pub apply_min_to_market: Option<bool>,
    /// Whether `maxNotional` applies to market orders, in `NOTIONAL`.
    pub apply_max_to_market: Option<bool>,
}
