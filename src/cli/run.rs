//! `run`: a worker and the sidecar against existing servers.

use super::failure::Outcome;
use super::options::{Kind, Options};
use super::signals::Signals;
use super::{output, parts};
use crate::telemetry::Telemetry;

/// Runs until a signal comes, then drains the worker, and the sidecar after it.
///
/// # Errors
/// When one of them does not start; on a second signal.
pub(crate) async fn run(options: &Options) -> Outcome {
    let settings = options.start(Kind::Daemon)?;
    let mut signals = Signals::listen()?;
    let telemetry = Telemetry::new();
    let worker = signals.or_interrupted(parts::worker(&settings, &telemetry)).await??;
    let sidecar = match signals.or_interrupted(parts::sidecar(&settings, &telemetry)).await {
        Ok(Ok(sidecar)) => sidecar,
        failed => {
            worker.drain(parts::WORKER_GRACE).await;
            return failed.and_then(|started| Ok(started.map(drop)?));
        }
    };
    output::line(format!("ready http=http://{}", sidecar.address()))?;
    signals.then_drain(parts::drain(worker, sidecar)).await
}
