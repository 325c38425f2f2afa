//! The settings of operators that all workers share: operator state, locks, and one snapshot of both.

pub mod locks;
pub mod operator_state;
pub mod snapshot;
