//! `worker`: a worker against existing servers.

use super::failure::Outcome;
use super::options::{Kind, Options};
use super::signals::Signals;
use super::{output, parts};
use crate::telemetry::Telemetry;

/// What the ready line says.
pub(crate) const READY: &str = "ready worker";

/// Runs until a signal comes, then drains.
///
/// # Errors
/// When the worker does not start; on a second signal.
pub(crate) async fn run(options: &Options) -> Outcome {
    let settings = options.start(Kind::Daemon)?;
    let mut signals = Signals::listen()?;
    let worker = signals
        .or_interrupted(parts::worker(&settings, &Telemetry::new()))
        .await??;
    output::line(READY)?;
    signals.then_drain(worker.drain(parts::WORKER_GRACE)).await
}
