//! `order-log`: the sidecar's own file, made anew from the journal.

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::failure::{Failure, Outcome, because};
use super::options::{Kind, Options};
use super::signals::Signals;
use super::{catching_up, output};
use crate::bus::connection::{Patience, connect};
use crate::sidecar::order_log::{OrderLog, Standing, Status};

/// Arguments of `order-log`.
#[derive(Debug, Args)]
pub(crate) struct OrderLogArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Removes the file below the data directory and makes it anew from the journal. No sidecar may be using it.
    Rebuild {
        /// Prints JSON, for machines.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Serialize)]
struct Rebuilt {
    /// The last sequence of the journal that it holds.
    journal_sequence: u64,
    milliseconds: u128,
    entries_per_s: u128,
}

/// Makes the order log anew.
///
/// # Errors
/// When a sidecar uses it, the journal is out of reach, or it cannot be written.
pub(crate) async fn run(args: &OrderLogArgs, options: &Options) -> Outcome {
    let Action::Rebuild { json } = args.action;
    let settings = options.start(Kind::Client)?;
    let mut signals = Signals::listen()?;
    let bus = connect(&settings.nats, "order-router order-log", Patience::Once).await?;
    let directory = &settings.data_dir.0;
    OrderLog::remove(directory).map_err(|error| because("the order log is not made anew", error))?;
    let (begun, stop) = (Instant::now(), CancellationToken::new());
    let log = OrderLog::start(directory, bus, stop.clone());
    let ended = signals.or_interrupted(ended(&log)).await;
    stop.cancel();
    log.stopped().await;
    let status = ended?;
    if !status.is_whole {
        return Err(Failure::from(because("the order log is not whole", status)));
    }
    let milliseconds = begun.elapsed().as_millis();
    let rebuilt = Rebuilt {
        journal_sequence: status.journal_sequence,
        milliseconds,
        entries_per_s: u128::from(status.journal_sequence) * 1_000 / milliseconds.max(1),
    };
    let line = if json {
        output::json(&rebuilt)?
    } else {
        format!(
            "the order log holds the journal up to entry {}: made in {} ms, {} entries a second",
            rebuilt.journal_sequence, rebuilt.milliseconds, rebuilt.entries_per_s
        )
    };
    Ok(output::line(line)?)
}

/// Waits until the log is whole, or something is in the way that does not go by itself.
async fn ended(log: &OrderLog) -> Status {
    let mut status = log.watch();
    let is_stuck = |status: &Status| !matches!(status.standing, Standing::Opening | Standing::CatchingUp);
    tokio::select! {
        () = catching_up::show(log.watch()) => {}
        _ = status.wait_for(is_stuck) => {}
    }
    log.status()
}
