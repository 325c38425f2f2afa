//! Settlement and the journal: a settled report is appended before any reply carries it (law 9 in
//! docs/architecture.md).

pub mod append;
pub mod current_report;
pub mod order_document;
pub(in crate::worker) mod prepared_effect;
pub(in crate::worker) mod repeated_send;
pub mod settlement;
