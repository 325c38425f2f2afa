//! `sidecar`: runs the sidecar against an existing NATS.

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::CommandResult;
use crate::cli::output;
use crate::cli::process::services;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::telemetry::Telemetry;

/// Runs until a signal comes, then drains.
///
/// # Errors
/// When the sidecar cannot start; on a second signal.
pub(crate) async fn run(options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Daemon)?;
    let (mut signals, hangup) = ShutdownSignals::listen_for_service()?;
    let sidecar = signals
        .unless_interrupted(services::start_sidecar(&settings, &Telemetry::new()))
        .await??;
    output::print_line(format!("ready http=http://{}", sidecar.address()))?;
    signals
        .wait_beside(hangup.handle_each(|| services::reload_keys(options, &sidecar)))
        .await;
    signals.unless_interrupted(sidecar.drain(services::SIDECAR_GRACE)).await
}
