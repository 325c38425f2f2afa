//! Redis: the live state that all workers share, bounded by what is live.
//!
//! Every change is one Lua script (`lua/*.lua`, each with its contract in its header): idempotent, checked whole before
//! its first write, and fenced by the store's epoch. [`keys`] names every key with type, unit and time to live.
//! Reservations, settlements and journal marks of many orders travel in one script call ([`batch`]).

pub mod adjustment;
pub mod batch;
pub mod connection;
pub mod control;
pub mod day;
pub mod epoch;
pub mod error;
pub mod figures;
pub mod journaled;
pub mod keys;
pub mod latch;
pub mod quotes;
pub mod rate;
pub mod read;
pub mod release;
pub mod replay;
pub mod replay_submission;
pub mod reserve;
mod script;
pub mod sending;
pub mod settle;
pub mod state;

pub use connection::Store;
pub use error::StoreError;
