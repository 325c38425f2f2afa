//! Shared sums: adjustments, the trading day, rates, measurements, the quote cache.

pub mod adjustment;
pub mod cancel_rate;
pub mod day;
pub mod measurements;
pub mod quote_cache;
