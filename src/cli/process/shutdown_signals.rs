//! SIGINT, SIGTERM and SIGHUP: the first drains, a second exits at once. A service reads its API keys again on SIGHUP.

use std::convert::Infallible;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::error::CommandError;

/// The file in which Linux lists the signals that this process ignores.
const PROCESS_STATUS_FILE: &str = "/proc/self/status";
/// The bit of SIGHUP in that list.
const HANGUP_BIT: u64 = 1;

/// The signals that end this process in order.
#[derive(Debug)]
pub(crate) struct ShutdownSignals {
    interrupt: Signal,
    terminate: Signal,
    /// SIGHUP, unless it is ignored or has another meaning.
    hangup: Option<Signal>,
}

impl ShutdownSignals {
    /// Handles SIGINT, SIGTERM and SIGHUP from now on; their default action, which ends the process, is off. SIGHUP stays
    /// ignored where the process was started so, as `nohup` does.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let hangup = match is_hangup_ignored() {
            true => None,
            false => Some(install(SignalKind::hangup())?),
        };
        Self::listen_with(hangup)
    }

    /// Handles SIGINT and SIGTERM as [`Self::listen`] does, and returns SIGHUP apart: a service does not end on it.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen_for_service() -> anyhow::Result<(Self, HangupSignal)> {
        let hangup = HangupSignal(install(SignalKind::hangup())?);
        Ok((Self::listen_with(None)?, hangup))
    }

    fn listen_with(hangup: Option<Signal>) -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Waits for the next signal and returns its name.
    pub(crate) async fn next_signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = receive(self.hangup.as_mut()) => "SIGHUP",
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

    /// Waits for the first signal beside work that never ends.
    pub(crate) async fn wait_beside(&mut self, work: impl Future<Output = Infallible>) {
        tokio::select! {
            name = self.next_signal() => tracing::info!(signal = name, "draining; a second signal exits at once"),
            never = work => match never {},
        }
    }
}

/// SIGHUP of a service.
#[derive(Debug)]
pub(crate) struct HangupSignal(Signal);

impl HangupSignal {
    /// Calls `handle` for each SIGHUP.
    pub(crate) async fn handle_each(mut self, mut handle: impl FnMut()) -> Infallible {
        loop {
            receive(Some(&mut self.0)).await;
            handle();
        }
    }
}

fn install(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("installing a signal handler")
}

/// Waits for a signal; without a handler, for ever.
async fn receive(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Reports whether this process was started with SIGHUP ignored. Where the system does not say, it was not.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string(PROCESS_STATUS_FILE).unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & HANGUP_BIT != 0)
}
