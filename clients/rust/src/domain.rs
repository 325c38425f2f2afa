//! The values of the contract: exact numbers, ids, terms, an intent, reasons. Pure: no I/O, and no wire format.
//!
//! A value is parsed once, at the edge; behind it there are no raw strings, no floats, and no options that are never
//! `None`. Start with [`intent`] and [`decimal`].

pub mod adjustment;
pub mod content_hash;
pub mod control;
pub mod decimal;
pub mod hex;
pub mod id;
pub mod intent;
pub mod leg;
pub mod mark_prices;
pub mod metadata;
pub mod money;
pub mod note;
pub mod order_terms;
pub mod quantity;
pub mod quote;
pub mod reason;
pub mod replace;
pub mod rule_signal;
pub mod settlement;
pub mod sort_direction;
pub mod symbol;
pub mod time;
mod word_enum;
