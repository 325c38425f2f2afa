//! SIGINT and SIGTERM: the first drains, a second ends at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::error::{CommandError, CommandResult};

/// The signals that ask for an end.
#[derive(Debug)]
pub(crate) struct ShutdownSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl ShutdownSignals {
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
    pub(crate) async fn next_signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Awaits something; a signal ends the wait.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] when a signal came first.
    pub(crate) async fn unless_interrupted<T>(&mut self, work: impl Future<Output = T>) -> Result<T, CommandError> {
        tokio::select! {
            done = work => Ok(done),
            name = self.next_signal() => {
                tracing::warn!(signal = name, "ending at once");
                Err(CommandError::Interrupted)
            }
        }
    }

    /// Waits for the first signal, then drains; a second signal ends the drain.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] on a second signal.
    pub(crate) async fn wait_then_drain(&mut self, drain: impl Future<Output = ()>) -> CommandResult {
        let name = self.next_signal().await;
        tracing::info!(signal = name, "draining; a second signal ends at once");
        self.unless_interrupted(drain).await
    }
}
