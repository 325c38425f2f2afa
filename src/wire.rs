//! The JSON of the contract: bytes ↔ domain, once, strictly. Pure.
//!
//! Requests are read field by field, so that an error names its field, and nothing unknown or doubled passes.
//! Answers are plain serde types; their JSON Schemas under `subjects/schemas` are generated from them.

pub mod adjustment;
pub mod brokers;
pub mod day;
pub mod dead_letter;
pub mod grammar;
pub mod holding_id;
pub mod intent;
pub mod latch;
pub mod note;
pub mod number;
pub mod object;
pub mod order_record;
pub mod order_reference;
pub mod positions;
pub mod problem;
pub mod quote;
pub mod report;
pub mod settlement;
pub mod signal;
pub mod state;
pub mod submission;
