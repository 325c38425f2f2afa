//! `rebuild`: rebuilds Redis from the journal alone, or compares it with what the journal makes.

use clap::Args;
use serde::Serialize;

use crate::audit::{FindingLevel, StoreCheck, StoreCounts, check_store};
use crate::bus::worker_directory::find_workers;
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::output::findings::{FindingsOutput, print_findings};
use crate::cli::output::journal_progress;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::worker::rebuild::by_operator::{OperatorRebuild, RebuiltStore};

/// The end of `rebuild --help`.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router rebuild --check
  order-router rebuild

Exit status: 0 rebuilt, or equal; 3 --check found differences; 1 refused or failed; 2 wrong usage.";

/// Arguments of `rebuild`.
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// Compare Redis with what the journal makes, name every difference, and write nothing.
    #[arg(long)]
    check: bool,
    /// Rebuild although workers run: they take no orders until it is done.
    #[arg(long, conflicts_with = "check")]
    force: bool,
    /// Rebuild although Redis holds changes that are not on the journal: they are lost.
    #[arg(long, conflicts_with = "check")]
    drop_unjournaled: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct StoreRebuildOutput {
    epoch: i64,
    /// The journal sequence up to which Redis holds every event of an order or an adjustment.
    journal_sequence: u64,
    milliseconds: u128,
}

#[derive(Debug, Serialize)]
struct StoreCheckOutput<'a> {
    equal: bool,
    journal_sequence: u64,
    redis: StoreCounts,
    #[serde(flatten)]
    findings: FindingsOutput<'a>,
}

/// Rebuilds or compares, and prints what came of it.
///
/// # Errors
/// When the comparison finds differences; when workers run, Redis holds changes that are not on the journal, or the journal
/// cannot be relied on; when a server is out of reach.
pub(crate) async fn run(args: &RebuildArgs, options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let mut signals = ShutdownSignals::listen()?;
    let opened = OperatorRebuild::open(&settings).await;
    let rebuild = opened.map_err(|error| error_with_reason("Redis is not rebuilt", error))?;
    match args.check {
        true => signals.unless_interrupted(Box::pin(check(args, &rebuild))).await?,
        false => signals.unless_interrupted(Box::pin(make(args, &rebuild))).await?,
    }
}

async fn make(args: &RebuildArgs, rebuild: &OperatorRebuild) -> CommandResult {
    if !args.force {
        refuse_beside_workers(rebuild).await?;
    }
    if !args.drop_unjournaled {
        refuse_unjournaled(rebuild).await?;
    }
    let rebuilt = journal_progress::with_progress(rebuild.watch_progress(), rebuild.rebuild()).await;
    let rebuilt = rebuilt.map_err(|error| error_with_reason("Redis is not rebuilt", error))?;
    let RebuiltStore {
        epoch,
        journal_sequence,
        duration,
    } = rebuilt;
    let milliseconds = duration.as_millis();
    if args.json {
        let result = StoreRebuildOutput {
            epoch,
            journal_sequence,
            milliseconds,
        };
        return Ok(output::print_line(output::to_json_line(&result)?)?);
    }
    Ok(output::print_line(format!(
        "Redis holds the journal up to entry {journal_sequence}: rebuilt in {milliseconds} ms, epoch {epoch}"
    ))?)
}

/// Refuses a rebuild while workers run: no order would be taken meanwhile.
async fn refuse_beside_workers(rebuild: &OperatorRebuild) -> CommandResult {
    match find_workers(rebuild.bus()).await?.len() {
        0 => Ok(()),
        count => Err(CommandError::from(error_with_reason(
            "Redis is not rebuilt",
            format!(
                "{count} workers run. Drain them, or pass --force: they take no orders until the rebuild is done, and then \
                 continue"
            ),
        ))),
    }
}

/// Refuses a rebuild that would lose what Redis holds and the journal does not have.
async fn refuse_unjournaled(rebuild: &OperatorRebuild) -> CommandResult {
    let failed = |error| error_with_reason("Redis is not rebuilt", error);
    let changes = rebuild.store().count_unjournaled().await.map_err(failed)?;
    if changes.is_empty() {
        return Ok(());
    }
    Err(CommandError::from(error_with_reason(
        "Redis is not rebuilt",
        format!(
            "it holds changes that are not on the journal: {changes}. Run a worker until it has journaled them, or pass \
             --drop-unjournaled to lose them"
        ),
    )))
}

async fn check(args: &RebuildArgs, rebuild: &OperatorRebuild) -> CommandResult {
    let failed = |error: &dyn std::fmt::Display| error_with_reason("Redis is not compared", error);
    let folded = journal_progress::with_progress(rebuild.watch_progress(), rebuild.fold()).await;
    let state = folded.map_err(|error| failed(&error))?;
    let compared = check_store(rebuild.store(), rebuild.fold_source(), state).await;
    let StoreCheck {
        journal_sequence,
        store,
        findings,
    } = compared.map_err(|error| failed(&error))?;
    let differences = findings.count(FindingLevel::Break) + findings.count(FindingLevel::Undecided);
    if args.json {
        let result = StoreCheckOutput {
            equal: differences == 0,
            journal_sequence,
            redis: store,
            findings: FindingsOutput::of(&findings),
        };
        output::print_line(output::to_json_line(&result)?)?;
    } else {
        print_findings(&findings)?;
        output::print_line(format!(
            "{differences} differences between Redis and the journal up to entry {journal_sequence}: {} ledgers, {} open \
             orders, {} remembered ids, {} locks",
            store.ledgers, store.open_orders, store.remembered_ids, store.locks
        ))?;
    }
    match differences {
        0 => Ok(()),
        _ => Err(CommandError::Different),
    }
}
