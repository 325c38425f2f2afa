//! The pure core: what an order is, exactly, with no I/O and no wire format.
//!
//! Every type here is parsed once, at the edge; behind it there are no raw strings, floats or options that cannot be
//! none. This room imports nothing of the crate.

pub mod adjustment;
pub mod calendar;
pub mod control;
pub mod currency_rates;
pub mod daily_pnl;
pub mod decimal;
pub mod equity;
pub mod hex;
pub mod id;
pub mod instrument;
pub mod intent;
pub mod metadata;
pub mod money;
pub mod note;
pub mod order;
pub mod order_terms;
pub mod position_book;
pub mod quantity;
pub mod quote;
pub mod reason;
pub mod rule_signal;
pub mod settlement;
pub mod status_transition;
pub mod time;
pub mod venue_report;
