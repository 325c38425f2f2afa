//! Redis: the live state that all workers share, bounded by what is live.
//!
//! Every change is one Lua script (`lua/*.lua`, each with its contract in its header): idempotent, validated completely
//! before its first write, and fenced by the store's epoch. [`keys`] lists every key with type, unit and time to live.
//! Start with [`Store`]; reservations, settlements and journal marks of many orders share one script call
//! ([`connection::batcher`]).

pub mod client;
pub mod comparison;
pub mod connection;
pub mod control;
pub mod error;
pub mod keys;
pub mod limits;
pub mod orders;
pub mod raised_numbers;
pub mod rebuild;
pub mod request_limits;
mod retention;
mod script;
pub mod settled_trades;
pub mod sums;

pub use crate::store::client::Store;
pub use crate::store::error::StoreError;
