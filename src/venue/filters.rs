//! The filters of a symbol (binance-spot-api-docs, filters.md), judged before an order reaches the engine.

use serde_json::{Value, json};

use crate::venue::amount::Amount;
use crate::venue::error::VenueError;
use crate::venue::order::NewOrder;
use crate::venue::settings::SymbolSettings;
use crate::venue::words::OrderType;

/// The most open orders of an account and a symbol.
pub const MAX_NUM_ORDERS: usize = 200;
/// The most open stop orders of an account and a symbol.
pub const MAX_NUM_ALGO_ORDERS: usize = 5;
/// The minutes over which the venue averages the price for the notional of market orders; 0 takes the last price.
const AVERAGE_PRICE_MINUTES: u32 = 0;

/// Judges the amounts of an order. `last_price` values a market order.
///
/// # Errors
/// The first filter that refuses the order, or an amount that is not positive.
pub fn check(symbol: &SymbolSettings, order: &NewOrder, last_price: Amount) -> Result<(), VenueError> {
    let is_market = order.kind == OrderType::Market;
    if !is_market {
        check_price(symbol, order.price)?;
    }
    if order.kind.has_stop() {
        check_price(symbol, order.stop_price)?;
    }
    let is_by_quote = order.quote_quantity.is_positive();
    if !is_by_quote {
        check_quantity(symbol, order.quantity, is_market)?;
    }
    let notional = match (is_by_quote, is_market) {
        (true, _) => order.quote_quantity,
        (false, true) => last_price.times(order.quantity),
        (false, false) => order.price.times(order.quantity),
    };
    if notional < symbol.min_notional || notional > symbol.max_notional {
        return Err(VenueError::filter("NOTIONAL"));
    }
    Ok(())
}

fn check_price(symbol: &SymbolSettings, price: Amount) -> Result<(), VenueError> {
    if !price.is_positive() {
        return Err(VenueError::new(-1013, "Invalid price."));
    }
    let is_in_range = price >= symbol.tick_size && price <= symbol.max_price;
    match is_in_range && price.is_multiple_of(symbol.tick_size) {
        true => Ok(()),
        false => Err(VenueError::filter("PRICE_FILTER")),
    }
}

/// Judges a quantity against the lot size and, for market orders, against theirs.
///
/// # Errors
/// The filter that refuses it, or a quantity that is not positive.
pub fn check_quantity(symbol: &SymbolSettings, quantity: Amount, is_market: bool) -> Result<(), VenueError> {
    if !quantity.is_positive() {
        return Err(VenueError::new(-1013, "Invalid quantity."));
    }
    let fits = quantity >= symbol.step_size && quantity <= symbol.max_quantity;
    if !fits || !quantity.is_multiple_of(symbol.step_size) {
        return Err(VenueError::filter("LOT_SIZE"));
    }
    if is_market && quantity > symbol.max_market_quantity {
        return Err(VenueError::filter("MARKET_LOT_SIZE"));
    }
    Ok(())
}

/// Returns the filters as exchange information lists them.
pub fn describe(symbol: &SymbolSettings) -> Value {
    json!([
        {
            "filterType": "PRICE_FILTER",
            "minPrice": symbol.tick_size,
            "maxPrice": symbol.max_price,
            "tickSize": symbol.tick_size,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": symbol.step_size,
            "maxQty": symbol.max_quantity,
            "stepSize": symbol.step_size,
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": Amount::ZERO,
            "maxQty": symbol.max_market_quantity,
            "stepSize": Amount::ZERO,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": symbol.min_notional,
            "applyMinToMarket": true,
            "maxNotional": symbol.max_notional,
            "applyMaxToMarket": true,
            "avgPriceMins": AVERAGE_PRICE_MINUTES,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MAX_NUM_ORDERS},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": MAX_NUM_ALGO_ORDERS},
    ])
}
