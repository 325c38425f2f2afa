//! The settings of operators that all workers share: operator state, locks, and one snapshot of both; the dead man's
//! switches; and the probe of whether Redis takes writes.

pub mod alerts;
pub mod dead_man_switches;
pub mod limits;
pub mod locks;
pub mod operator_state;
pub mod snapshot;
mod write_probe;
