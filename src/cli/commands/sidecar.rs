//! `sidecar`: runs the sidecar against an existing NATS.

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::CommandResult;
use crate::cli::output;
use crate::cli::process::services;
use crate::cli::process::shutdown_signals::ShutdownSignals;

/// Runs until a signal comes, then drains.
///
/// # Errors
/// When the sidecar cannot start; on a second signal.
pub(crate) async fn run(options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Daemon)?;
    let (mut signals, hangup) = ShutdownSignals::listen_for_service()?;
    let telemetry = services::start_telemetry(&settings)?;
    let sidecar = signals
        .unless_interrupted(services::start_sidecar(&settings, &telemetry))
        .await??;
    output::print_line(format!("ready http=http://{}", sidecar.address()))?;
    signals
        .wait_beside(hangup.handle_each(|| services::reload_keys(options, &sidecar)))
        .await;
    let drained = async {
        sidecar.drain(services::SIDECAR_GRACE).await;
        telemetry.finish_spans(services::SPANS_GRACE).await;
    };
    signals.unless_interrupted(drained).await
}
