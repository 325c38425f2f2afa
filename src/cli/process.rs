//! Long-running commands: logging, signals, and the services in this process.

pub(in crate::cli) mod logging;
pub(in crate::cli) mod services;
pub(in crate::cli) mod shutdown_signals;
