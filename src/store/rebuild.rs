//! Rebuilding the store from the journal: its epochs, and the replay of orders and submissions.

pub mod epoch;
pub mod lease;
pub mod orders;
pub mod submissions;
