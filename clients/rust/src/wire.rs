//! The JSON documents of the contract, and their conversion to and from domain types. Pure.
//!
//! Requests are decoded field by field: an error names its field, and an unknown or repeated field is refused
//! ([`strict_object`]). Replies and events are plain serde types. The published JSON Schemas are generated from the types
//! of this module; a field's doc comment is its description there. Start with [`intent`] and [`report`].

pub mod adjustment;
pub mod balance;
pub mod brokers;
pub mod day;
pub mod dead_letter;
pub mod environment;
pub mod field_checks;
pub mod filter_time;
pub mod health;
pub mod heartbeat;
pub mod holding_id;
pub mod intent;
pub mod journal_loss;
pub mod limits;
pub mod lock;
pub mod market_quote;
mod new_intent;
pub mod note;
pub mod order_history;
pub mod order_record;
pub mod order_reference;
pub mod positions;
pub mod problem;
pub mod replace;
pub mod report;
pub mod reported_replace;
pub mod risk_signal;
pub mod schema_numbers;
pub mod schema_patterns;
pub mod settled_legs;
pub mod settlement;
pub mod state;
pub mod strict_object;
pub mod submission;
