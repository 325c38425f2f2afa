//! Rebuilding the store from the journal: epochs, and the replay of orders and submissions.

pub mod epoch;
pub mod orders;
pub mod submissions;
