//! Settlement and the journal: what the store has booked is appended before any reply carries it.

pub mod append;
pub mod current_report;
pub mod settlement;
