//! Positions for display: valuation, market prices, the order that closes one.

pub(in crate::sidecar) mod closing_order;
pub(in crate::sidecar) mod market_prices;
pub(in crate::sidecar) mod valuation;
