//! The commands, one file each.

pub(in crate::cli) mod adjust;
pub(in crate::cli) mod alerts;
pub(in crate::cli) mod bench;
pub(in crate::cli) mod brokers;
pub(in crate::cli) mod cancel;
pub(in crate::cli) mod cancel_all;
pub(in crate::cli) mod check;
pub(in crate::cli) mod close;
pub(in crate::cli) mod dev;
pub(in crate::cli) mod executions;
pub(in crate::cli) mod get;
pub(in crate::cli) mod journal;
pub(in crate::cli) mod journal_archive;
pub(in crate::cli) mod key;
pub(in crate::cli) mod limits;
pub(in crate::cli) mod locks;
pub(in crate::cli) mod order_log;
pub(in crate::cli) mod orders;
pub(in crate::cli) mod positions;
pub(in crate::cli) mod run;
pub(in crate::cli) mod sidecar;
pub(in crate::cli) mod state;
pub(in crate::cli) mod submit;
pub(in crate::cli) mod topology;
pub(in crate::cli) mod watch;
pub(in crate::cli) mod worker;
