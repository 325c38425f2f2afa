//! The pure core: what an order is, exactly, with no I/O and no wire format.
//!
//! Every type here is parsed once, at the edge; behind it there are no raw strings, floats or options that cannot be
//! none. This room imports nothing of the crate.

pub mod adjustment;
pub mod average_cost;
pub mod calendar;
pub mod control;
pub mod day;
pub mod decimal;
pub mod equity;
pub mod execution;
pub mod id;
pub mod instrument;
pub mod intent;
pub mod metadata;
pub mod money;
pub mod note;
pub mod order;
pub mod quantity;
pub mod quote;
pub mod rates;
pub mod reason;
pub mod settlement;
pub mod signal;
pub mod terms;
pub mod time;
pub mod transition;
