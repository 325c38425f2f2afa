//! `worker`: a worker against existing servers.

use super::failure::CommandResult;
use super::options::{CommandKind, GlobalOptions};
use super::signals::ShutdownSignals;
use super::{output, parts};
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
        .unless_interrupted(parts::start_worker(&settings, &Telemetry::new()))
        .await??;
    output::print_line(READY)?;
    signals.wait_then_drain(worker.drain(parts::WORKER_GRACE)).await
}
