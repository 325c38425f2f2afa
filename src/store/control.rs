//! What all workers share of operators' settings: state, locks, and one snapshot of both.

pub mod locks;
pub mod operator_state;
pub mod snapshot;
