//! `run`: runs a worker and the sidecar against existing servers.

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::CommandResult;
use crate::cli::output;
use crate::cli::process::services;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::worker::OwnLimits;

/// Runs until a signal comes, then drains the worker, and the sidecar after it.
///
/// # Errors
/// When one of them cannot start; on a second signal.
pub(crate) async fn run(options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Daemon)?;
    let (mut signals, hangup) = ShutdownSignals::listen_for_service()?;
    let telemetry = services::start_telemetry(&settings)?;
    let worker = signals
        .unless_interrupted(services::start_worker(&settings, &telemetry, OwnLimits::Refuse))
        .await??;
    let sidecar = match signals
        .unless_interrupted(services::start_sidecar(&settings, &telemetry))
        .await
    {
        Ok(Ok(sidecar)) => sidecar,
        failed => {
            worker.drain(services::WORKER_GRACE).await;
            return failed.and_then(|started| Ok(started.map(drop)?));
        }
    };
    output::print_line(format!("ready http=http://{}", sidecar.address()))?;
    signals
        .wait_beside(hangup.handle_each(|| services::reload_keys(options, &sidecar)))
        .await;
    let drained = async {
        services::drain_worker_then_sidecar(worker, sidecar).await;
        telemetry.finish_spans(services::SPANS_GRACE).await;
    };
    signals.unless_interrupted(drained).await
}
