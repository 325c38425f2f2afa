//! The log, on the standard error stream.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::log::{LogFormat, LogSettings};

/// What a command that is done in a moment logs unless more is asked for.
const QUIET_FILTER: &str = "warn";

/// What the bus tells of its connections stands in our own words already; naming the library in the filter shows its own.
const LIBRARY_FILTER: &str = "async_nats=warn";

/// Starts the log; a second start changes nothing.
pub(crate) fn start_log(settings: &LogSettings, is_quiet: bool) {
    let filter = if is_quiet { QUIET_FILTER } else { &settings.filter };
    let filter =
        EnvFilter::try_new(format!("{LIBRARY_FILTER},{filter}")).unwrap_or_else(|_| EnvFilter::new(QUIET_FILTER));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    // It fails only where a log has been started already.
    let _ = match settings.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
