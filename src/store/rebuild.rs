//! Rebuilding the store from the journal: its epochs, the replay of orders and submissions into a store that holds
//! something, and for an empty one the fold of the journal in memory and the load of its result.

pub mod epoch;
pub(in crate::store) mod final_state;
pub mod fold;
pub mod lease;
pub mod load;
pub mod orders;
mod replay_calls;
mod snapshot_turn;
pub mod submissions;
pub mod unjournaled;
