//! `worker`: a worker against existing servers.

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::CommandResult;
use crate::cli::output;
use crate::cli::process::services;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::telemetry::Telemetry;

/// What the ready line says.
pub(crate) const READY: &str = "ready worker";

/// Runs until a signal comes, then drains.
///
/// # Errors
/// When the worker does not start; on a second signal.
pub(crate) async fn run(options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Daemon)?;
    let mut signals = ShutdownSignals::listen()?;
    let worker = signals
        .unless_interrupted(services::start_worker(&settings, &Telemetry::new()))
        .await??;
    output::print_line(READY)?;
    signals.wait_then_drain(worker.drain(services::WORKER_GRACE)).await
}
