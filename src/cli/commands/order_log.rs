//! `order-log`: rebuilds the sidecar's order log from the journal.

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::connection::{ConnectPolicy, connect};
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::output::order_log_progress;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::order_log::{OrderLog, OrderLogStatus, SyncState};

/// Arguments of `order-log`.
#[derive(Debug, Args)]
pub(crate) struct OrderLogArgs {
    #[command(subcommand)]
    action: OrderLogAction,
}

#[derive(Debug, Subcommand)]
enum OrderLogAction {
    /// Delete the order log in the data directory and rebuild it from the journal. Stop its sidecar first.
    Rebuild {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Serialize)]
struct RebuildOutput {
    /// The last journal sequence that the order log has applied.
    journal_sequence: u64,
    milliseconds: u128,
    entries_per_s: u128,
}

/// Rebuilds the order log and prints how long that took.
///
/// # Errors
/// When a sidecar uses the file, the journal is unreachable, or the file cannot be written.
pub(crate) async fn run(args: &OrderLogArgs, options: &GlobalOptions) -> CommandResult {
    let OrderLogAction::Rebuild { json } = args.action;
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let mut signals = ShutdownSignals::listen()?;
    let bus = connect(&settings.nats, "order-router order-log", ConnectPolicy::Once).await?;
    let directory = &settings.data_dir.0;
    OrderLog::remove_file(directory).map_err(|error| error_with_reason("the order log cannot be rebuilt", error))?;
    let (started_at, stop) = (Instant::now(), CancellationToken::new());
    let log = OrderLog::start(directory, bus, stop.clone());
    let ended = signals.unless_interrupted(wait_until_rebuilt(&log)).await;
    stop.cancel();
    log.wait_until_stopped().await;
    let status = ended?;
    if !status.is_complete {
        return Err(CommandError::from(error_with_reason(
            "the order log is incomplete",
            status,
        )));
    }
    let milliseconds = started_at.elapsed().as_millis();
    let result = RebuildOutput {
        journal_sequence: status.journal_sequence,
        milliseconds,
        entries_per_s: u128::from(status.journal_sequence) * 1_000 / milliseconds.max(1),
    };
    let line = if json {
        output::to_json_line(&result)?
    } else {
        format!(
            "the order log holds the journal up to entry {}: rebuilt in {} ms, {} entries a second",
            result.journal_sequence, result.milliseconds, result.entries_per_s
        )
    };
    Ok(output::print_line(line)?)
}

/// Waits until the order log is complete, or an error stops it that does not pass by itself.
async fn wait_until_rebuilt(log: &OrderLog) -> OrderLogStatus {
    let mut status = log.watch_status();
    let is_stuck = |status: &OrderLogStatus| !matches!(status.sync_state, SyncState::Opening | SyncState::CatchingUp);
    tokio::select! {
        () = order_log_progress::show_progress(log.watch_status()) => {}
        _ = status.wait_for(is_stuck) => {}
    }
    log.status()
}
