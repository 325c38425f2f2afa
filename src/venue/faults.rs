//! Faults: what a venue or the way to it can do to a client, on purpose and by a seed.

pub mod injector;
pub mod spec;
pub mod table;
