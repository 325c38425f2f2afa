//! The pure core: orders, exact numbers and the shared sums, without I/O and without a wire format.
//!
//! Values are parsed once, at the edge; behind it there are no raw strings, no floats, and no options that are never
//! `None`. This room imports nothing of the crate. Start with [`order`], [`status_transition`] and [`booking`].

pub mod adjustment;
pub mod booking;
pub mod calendar;
pub mod content_hash;
pub mod control;
pub mod currency_rates;
pub mod daily_pnl;
pub mod day_profit;
pub mod decimal;
pub mod hex;
pub mod id;
pub mod instrument;
pub mod intent;
pub mod intent_lifetime;
pub mod metadata;
pub mod money;
pub mod note;
pub mod order;
pub mod order_key;
pub mod order_terms;
pub mod position_book;
pub mod quantity;
pub mod quote;
pub mod reason;
pub mod reservation;
pub mod rule_signal;
pub mod settlement;
pub mod sort_direction;
pub mod status_transition;
pub mod sum_ledger;
pub mod symbol;
pub mod time;
pub mod venue_report;
mod word_enum;
