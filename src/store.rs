//! Redis: the live state that all workers share, bounded by what is live.
//!
//! Every change is one Lua script (`lua/*.lua`, each with its contract in its header): idempotent, checked whole before
//! its first write, and fenced by the store's epoch. [`keys`] names every key with type, unit and time to live.
//! Reservations, settlements and journal marks of many orders travel in one script call ([`batch`]).

pub mod connection;
pub mod control;
pub mod error;
pub mod keys;
pub mod orders;
pub mod rebuild;
mod script;
pub mod sums;

pub use crate::store::connection::Store;
pub use crate::store::error::StoreError;
