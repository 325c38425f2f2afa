//! What a long-running command needs: logging, signals, and the services it runs.

pub(in crate::cli) mod logging;
pub(in crate::cli) mod services;
pub(in crate::cli) mod shutdown_signals;
