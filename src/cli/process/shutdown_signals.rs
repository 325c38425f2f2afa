//! SIGINT and SIGTERM: the first drains, a second exits at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::error::{CommandError, CommandResult};

/// SIGINT and SIGTERM of this process.
#[derive(Debug)]
pub(crate) struct ShutdownSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl ShutdownSignals {
    /// Handles both signals from now on; their default action, which ends the process, is off.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("installing a signal handler");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal and returns its name.
    pub(crate) async fn next_signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Awaits `work`; a signal ends the wait.
    ///
    /// # Errors
    /// [`CommandError::Interrupted`] when a signal came first.
    pub(crate) async fn unless_interrupted<T>(&mut self, work: impl Future<Output = T>) -> Result<T, CommandError> {
        tokio::select! {
            done = work => Ok(done),
            name = self.next_signal() => {
                tracing::warn!(signal = name, "interrupted: exiting at once");
                Err(CommandError::Interrupted)
            }
        }
    }

    /// Waits for the first signal, then drains; a second signal ends the drain.
    ///
    /// # Errors
    /// [`CommandError::Interrupted`] on a second signal.
    pub(crate) async fn wait_then_drain(&mut self, drain: impl Future<Output = ()>) -> CommandResult {
        let name = self.next_signal().await;
        tracing::info!(signal = name, "draining; a second signal exits at once");
        self.unless_interrupted(drain).await
    }
}
