//! Settings: one file per area, each of which tells all its errors at once.

pub mod brokers;
