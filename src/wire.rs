//! The JSON of the contract: bytes ↔ domain, once, strictly. Pure.
//!
//! Requests are read field by field, so that an error names its field, and nothing unknown or doubled passes.
//! Answers are plain serde types; their JSON Schemas under `subjects/schemas` are generated from them.

pub mod adjustment;
pub mod brokers;
pub mod day;
pub mod dead_letter;
pub mod holding_id;
pub mod intent;
pub mod lock;
pub mod market_quote;
pub mod note;
pub mod order_record;
pub mod order_reference;
pub mod positions;
pub mod problem;
pub mod report;
pub mod risk_signal;
pub mod schema_numbers;
pub mod schema_patterns;
pub mod settlement;
pub mod state;
pub mod strict_object;
pub mod submission;
