//! Settlement and the journal: a settled report is appended before any reply carries it (law 9 in
//! docs/architecture.md).

pub mod append;
pub mod current_report;
pub mod journaled_outcome;
pub mod order_document;
pub(in crate::worker) mod prepared_effect;
pub(in crate::worker) mod repeated_send;
pub(in crate::worker) mod report_entry;
pub mod settlement;
