//! The JSON documents of the contract, and their conversion to and from domain types. Pure.
//!
//! Requests are decoded field by field: an error names its field, and an unknown or repeated field is refused
//! ([`strict_object`]). Replies and events are plain serde types. The JSON Schemas in `subjects/schemas` are generated from
//! the types of this module; a field's doc comment is its description there. Start with [`intent`] and [`report`].

pub mod adjustment;
pub mod brokers;
pub mod day;
pub mod dead_letter;
pub(crate) mod field_checks;
pub mod filter_time;
pub mod health;
pub mod holding_id;
pub mod intent;
pub mod journal_loss;
pub mod journal_report;
pub mod limits;
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
