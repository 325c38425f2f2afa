//! Starts and drains a worker and the sidecar in this process.

use std::time::Duration;

use anyhow::Context;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::output::order_log_progress;
use crate::config::Settings;
use crate::sidecar::Sidecar;
use crate::telemetry::Telemetry;
use crate::worker::{OwnLimits, Worker};

/// The line that `order-router worker` prints once it is ready.
pub(crate) const WORKER_READY_LINE: &str = "ready worker";

/// How long a worker may take to finish the orders in flight.
pub(crate) const WORKER_GRACE: Duration = Duration::from_secs(10);
/// How long the sidecar may take to respond to the requests in flight.
pub(crate) const SIDECAR_GRACE: Duration = Duration::from_secs(8);

/// How long the last spans of traces may take to reach their collector.
pub(crate) const SPANS_GRACE: Duration = Duration::from_secs(3);

/// Starts the measurements of a process, and the export of its traces where the settings name a collector.
///
/// # Errors
/// When the export cannot be set up.
pub(crate) fn start_telemetry(settings: &Settings) -> anyhow::Result<Telemetry> {
    Ok(Telemetry::start(&settings.otlp)?)
}

/// Starts a worker: it is connected, missing streams are created, the store is rebuilt where that was due, both doors are open.
///
/// # Errors
/// When a server is unreachable or refuses the connection, an existing stream differs, or other limits are in force.
pub(crate) async fn start_worker(
    settings: &Settings,
    telemetry: &Telemetry,
    own_limits: OwnLimits,
) -> anyhow::Result<Worker> {
    let started = Worker::start_with_limits(settings, telemetry.clone(), own_limits).await;
    started.context("the worker cannot start")
}

/// Starts the sidecar and shows the progress of its order log.
///
/// # Errors
/// When its address is in use, or NATS is unreachable or refuses the connection.
pub(crate) async fn start_sidecar(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<Sidecar> {
    let started = Sidecar::start_with_telemetry(settings, telemetry.clone()).await;
    let sidecar = started.context("the sidecar cannot start")?;
    tokio::spawn(order_log_progress::show_progress(sidecar.order_log().watch_status()));
    Ok(sidecar)
}

/// Reads the API keys of the settings again. With an error anywhere in the settings, the present keys stay.
pub(crate) fn reload_keys(options: &GlobalOptions, sidecar: &Sidecar) {
    match options.load_settings(&options.setting_flags()) {
        Ok(settings) => {
            sidecar.replace_keys(&settings.keys);
            tracing::info!(
                key_count = settings.keys.0.len(),
                "SIGHUP: the API keys are read again; other settings take effect at the next start"
            );
        }
        Err(error) => {
            let error = error.message().unwrap_or_default();
            tracing::error!(
                error,
                "SIGHUP: the settings cannot be read again; the API keys are unchanged"
            );
        }
    }
}

/// Drains the worker, then the sidecar, which still has to respond to callers of the worker.
pub(crate) async fn drain_worker_then_sidecar(worker: Worker, sidecar: Sidecar) {
    worker.drain(WORKER_GRACE).await;
    sidecar.drain(SIDECAR_GRACE).await;
}
