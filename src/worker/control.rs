//! What operators and rules set for all workers: trading state, mode, limits, locks, signals, the kill switch, dead man's
//! switches.

pub(in crate::worker) mod account_days;
pub mod alert_outbox;
pub mod cache;
pub mod dead_man_switch;
pub(in crate::worker) mod event_sequence;
pub mod fee_locks;
pub mod kill_switch;
pub mod limits;
pub mod limits_change;
pub mod limits_journal;
pub mod locks;
pub mod locks_journal;
pub mod loss_locks;
pub mod operator_state;
pub mod operator_state_journal;
pub mod signals;
pub mod switch_journal;
pub mod switch_sweep;
