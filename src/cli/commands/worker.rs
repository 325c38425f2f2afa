//! `worker`: runs a worker against existing servers.

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::CommandResult;
use crate::cli::output;
use crate::cli::process::services;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::telemetry::Telemetry;

/// Runs until a signal comes, then drains.
///
/// # Errors
/// When the worker cannot start; on a second signal.
pub(crate) async fn run(options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Daemon)?;
    let mut signals = ShutdownSignals::listen()?;
    let worker = signals
        .unless_interrupted(services::start_worker(&settings, &Telemetry::new()))
        .await??;
    output::print_line(services::WORKER_READY_LINE)?;
    signals.wait_then_drain(worker.drain(services::WORKER_GRACE)).await
}
