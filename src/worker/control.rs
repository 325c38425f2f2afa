//! What operators and rules have set for all workers: trading state, mode, limits, locks, alerts, the kill switch.

pub mod cache;
pub mod kill_switch;
pub mod limits;
pub mod locks;
pub mod loss_locks;
pub mod operator_state;
pub mod operator_state_journal;
pub mod signals;
