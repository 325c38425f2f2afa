//! `sidecar`: REST against an existing NATS.

use super::failure::Outcome;
use super::options::{Kind, Options};
use super::signals::Signals;
use super::{output, parts};
use crate::telemetry::Telemetry;

/// Runs until a signal comes, then drains.
///
/// # Errors
/// When the sidecar does not start; on a second signal.
pub(crate) async fn run(options: &Options) -> Outcome {
    let settings = options.start(Kind::Daemon)?;
    let mut signals = Signals::listen()?;
    let sidecar = signals
        .or_interrupted(parts::sidecar(&settings, &Telemetry::new()))
        .await??;
    output::line(format!("ready http=http://{}", sidecar.address()))?;
    signals.then_drain(sidecar.drain(parts::SIDECAR_GRACE)).await
}
