//! Shared sums: ledgers, adjustments, the trading day, cancel rates, measurements; and the cache of quotes.

pub mod adjustment;
pub mod cancel_rate;
pub mod day;
pub mod ledgers;
pub mod measurements;
pub mod quote_cache;
pub mod sweep;
