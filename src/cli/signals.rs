//! SIGINT and SIGTERM: the first drains, a second ends at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Failure, Outcome};

/// The signals that ask for an end.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals from now on; they end nothing by themselves any more.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let take = |kind| signal(kind).context("taking signals");
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// Returns the name of the next signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Awaits something; a signal ends the wait.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] when a signal came first.
    pub(crate) async fn or_interrupted<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            name = self.next() => {
                tracing::warn!(signal = name, "ending at once");
                Err(Failure::Interrupted)
            }
        }
    }

    /// Waits for the first signal, then drains; a second signal ends the drain.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] on a second signal.
    pub(crate) async fn then_drain(&mut self, drain: impl Future<Output = ()>) -> Outcome {
        let name = self.next().await;
        tracing::info!(signal = name, "draining; a second signal ends at once");
        self.or_interrupted(drain).await
    }
}
