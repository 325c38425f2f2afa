//! Starting the router's two parts in this process: the only place of the command line that names them.

use std::time::Duration;

use anyhow::Context;

use crate::cli::output::order_log_progress;
use crate::config::Settings;
use crate::sidecar::Sidecar;
use crate::telemetry::Telemetry;
use crate::worker::Worker;

/// How long a worker may take to finish what is under way.
pub(crate) const WORKER_GRACE: Duration = Duration::from_secs(10);
/// How long the sidecar may take to answer what it has taken.
pub(crate) const SIDECAR_GRACE: Duration = Duration::from_secs(8);

/// Starts a worker: connected, the topology applied, the store healed, both doors open.
///
/// # Errors
/// When a server is out of reach or refuses us, or a stream stands in the way.
pub(crate) async fn start_worker(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<Worker> {
    let started = Worker::start_with_telemetry(settings, telemetry.clone()).await;
    started.context("the worker does not start")
}

/// Starts the sidecar, and shows how its order log catches up.
///
/// # Errors
/// When its address is taken, or NATS is out of reach or refuses us.
pub(crate) async fn start_sidecar(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<Sidecar> {
    let started = Sidecar::start_with_telemetry(settings, telemetry.clone()).await;
    let sidecar = started.context("the sidecar does not start")?;
    tokio::spawn(order_log_progress::show_progress(sidecar.order_log().watch_status()));
    Ok(sidecar)
}

/// Drains the worker, then the sidecar, which has callers of the worker to answer.
pub(crate) async fn drain_worker_then_sidecar(worker: Worker, sidecar: Sidecar) {
    worker.drain(WORKER_GRACE).await;
    sidecar.drain(SIDECAR_GRACE).await;
}
