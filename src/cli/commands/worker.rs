//! `worker`: runs a worker against existing servers.

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::CommandResult;
use crate::cli::output;
use crate::cli::process::services;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::worker::OwnLimits;

/// Runs until a signal comes, then drains.
///
/// # Errors
/// When the worker cannot start; on a second signal.
pub(crate) async fn run(options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Daemon)?;
    let (mut signals, hangup) = ShutdownSignals::listen_for_service()?;
    let telemetry = services::start_telemetry(&settings)?;
    let worker = signals
        .unless_interrupted(services::start_worker(&settings, &telemetry, OwnLimits::Refuse))
        .await??;
    output::print_line(services::WORKER_READY_LINE)?;
    let log_hangup = || tracing::info!("SIGHUP: a worker reads nothing again; restart it to change its settings");
    signals.wait_beside(hangup.handle_each(log_hangup)).await;
    let drained = async {
        worker.drain(services::WORKER_GRACE).await;
        telemetry.finish_spans(services::SPANS_GRACE).await;
    };
    signals.unless_interrupted(drained).await
}
