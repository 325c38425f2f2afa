//! The log, on standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::log::{LogFormat, LogSettings};

/// The filter of a short command unless the user sets one.
const QUIET_FILTER: &str = "warn";

/// `bus` logs connection changes itself, so the library's own lines are off unless the filter names it.
const LIBRARY_FILTER: &str = "async_nats=warn";

/// Starts the log. A second call changes nothing.
pub(crate) fn start_log(settings: &LogSettings, is_quiet: bool) {
    let filter = if is_quiet { QUIET_FILTER } else { &settings.filter };
    let filter =
        EnvFilter::try_new(format!("{LIBRARY_FILTER},{filter}")).unwrap_or_else(|_| EnvFilter::new(QUIET_FILTER));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    // It fails only when a log has been started before.
    let _ = match settings.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
