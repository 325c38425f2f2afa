//! Positions for display: valuation, market prices, and the order that closes a position.

pub(in crate::sidecar) mod closing_order;
pub(in crate::sidecar) mod market_prices;
#[cfg(test)]
pub(in crate::sidecar) mod test_fixtures;
pub(in crate::sidecar) mod valuation;
