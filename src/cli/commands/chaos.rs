//! `chaos`: runs the chaos harness.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::chaos::{self, ChaosBroker, ChaosOptions, ChaosPrograms, ChaosSummary, FaultKind, LeastCounts};
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::commands::dev::child_process::ChildBinder;
use crate::cli::commands::dev::program_path;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::config::private_files::create_private_directory;

/// What the help ends with.
pub(crate) const EXAMPLES: &str = "\
Examples:
  order-router chaos --seconds 60
  order-router chaos --seed 7 --seconds 600 --json
  order-router chaos --cluster --fault redis_failover --fault nats_node_killed
  order-router chaos --fault redis_flushed --fault worker_paused --keep chaos-run
  order-router chaos --broker live-venue --venue-fault-percent 5 --at-least worker_killed=10 --at-least redis_put_back=1";

const MAX_SECONDS: i64 = 86_400;
const MAX_WORKERS: i64 = 16;
const MAX_LANES: i64 = 1_024;
const MAX_VENUE_FAULT_PERCENT: i64 = 50;
/// The most faults of a kind that a run can be asked to have: more come in no day.
const MAX_LEAST_FAULTS: u64 = 10_000;
/// The most intents of a run: the answers are kept in memory until the check.
const MAX_INTENTS: u64 = 5_000_000;

/// Arguments of `chaos`.
#[derive(Debug, Args)]
pub(crate) struct ChaosArgs {
    /// The seed of faults and intents; the same seed gives the same schedule.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Send intents and inject faults for this many seconds, 1 to 86400.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=MAX_SECONDS))]
    seconds: u32,
    /// End earlier, once this many intents are sent, 1 to 5000000.
    #[arg(long, value_name = "N", default_value_t = MAX_INTENTS, value_parser = clap::value_parser!(u64).range(1..=MAX_INTENTS))]
    intents: u64,
    /// Where orders take effect: `live-venue` trades at a local exchange with faults of its own, by the adapter of Binance.
    #[arg(long, value_enum, default_value_t = ChaosBroker::Paper)]
    broker: ChaosBroker,
    /// Run this many worker processes, 2 to 16.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=MAX_WORKERS))]
    workers: u16,
    /// Run NATS as a cluster of three, and Redis as a primary with a replica and three Sentinels.
    #[arg(long)]
    cluster: bool,
    /// Keep this many intents in flight, 1 to 1024.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=MAX_LANES))]
    concurrency: u16,
    /// Inject only this kind of fault; may be repeated [default: every kind].
    #[arg(long = "fault", value_name = "KIND", value_enum)]
    kinds: Vec<FaultKind>,
    /// With `live-venue`: faults of every kind meet at least this share of the exchange's requests and events, 1 to 50 percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=MAX_VENUE_FAULT_PERCENT))]
    venue_fault_percent: Option<u8>,
    /// Fail unless the run has this many orders, or faults of a kind: `orders=20000`, `worker_killed=10`; may be repeated.
    #[arg(long, value_name = "WHAT=N", value_parser = parse_least)]
    at_least: Vec<(LeastOf, u64)>,
    /// Keep logs, settings and data of the run in this new directory.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the harness and prints what it found.
///
/// # Errors
/// When the run cannot be made, or has found a violation.
pub(crate) async fn run(args: ChaosArgs, options: &GlobalOptions) -> CommandResult {
    if let Some(name) = options.server_flag() {
        let text = format!("{name} cannot be used with `chaos`, which starts servers of its own");
        return Err(CommandError::Usage(text));
    }
    if args.venue_fault_percent.is_some() && args.broker != ChaosBroker::LiveVenue {
        let text = "--venue-fault-percent needs --broker live-venue".to_owned();
        return Err(CommandError::Usage(text));
    }
    options.load_settings_and_start_log(CommandKind::Client)?;
    let mut signals = ShutdownSignals::listen()?;
    let directory = RunDirectory::create(args.keep.as_deref())?;
    let binder = ChildBinder::detect().await;
    let chaos_options = ChaosOptions {
        seed: args.seed,
        broker: args.broker,
        duration: Duration::from_secs(u64::from(args.seconds)),
        max_intents: args.intents,
        lanes: args.concurrency,
        workers: args.workers,
        is_cluster: args.cluster,
        kinds: args.kinds,
        venue_fault_percent: args.venue_fault_percent,
        at_least: least_counts(&args.at_least),
        directory: directory.path.clone(),
        programs: ChaosPrograms {
            router: std::env::current_exe().context("finding this program")?,
            nats: program_path::find_server("nats-server")?,
            redis: program_path::find_server("redis-server")?,
            prlimit: program_path::find_on_path("prlimit"),
            command: Arc::new(move |program| binder.bound_command(program)),
        },
    };
    if let Some(kind) = chaos_options.unavailable_kind() {
        let kind = kind.as_str();
        return Err(CommandError::Usage(format!(
            "the fault {kind} cannot be injected into this run: see docs/reliability.md for what it needs"
        )));
    }
    let summary = signals.unless_interrupted(chaos::run(&chaos_options)).await??;
    if args.json {
        output::print_line(output::to_json_line(&summary)?)?;
    } else {
        output::print_line(render_summary(&summary))?;
    }
    if summary.violations > 0 {
        return Err(CommandError::Reported);
    }
    Ok(())
}

/// What a run can be asked to have at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeastOf {
    Orders,
    Faults(FaultKind),
}

fn parse_least(text: &str) -> Result<(LeastOf, u64), String> {
    let (what, count) = text.split_once('=').ok_or("it is WHAT=N, such as worker_killed=10")?;
    let (of, most) = match what {
        "orders" => (LeastOf::Orders, MAX_INTENTS),
        kind => (LeastOf::Faults(FaultKind::from_str(kind, false)?), MAX_LEAST_FAULTS),
    };
    match count.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok((of, count)),
        _ => Err(format!("{count:?} is not a number from 1 to {most}")),
    }
}

fn least_counts(asked: &[(LeastOf, u64)]) -> LeastCounts {
    let mut least = LeastCounts::default();
    for (of, count) in asked {
        match of {
            LeastOf::Orders => least.orders = *count,
            LeastOf::Faults(kind) => least.faults.push((*kind, *count)),
        }
    }
    least
}

fn render_summary(summary: &ChaosSummary) -> String {
    let mut table = TextTable::new(&[("", ColumnAlign::Left), ("", ColumnAlign::Right)]);
    let mut row = |name: &str, value: u64| table.push_row([name.to_owned(), value.to_string()]);
    row("seed", summary.seed);
    row("intents", summary.intents);
    for (outcome, count) in &summary.intents_by_outcome {
        row(&format!("  {outcome}"), *count);
    }
    row("calls", summary.calls);
    row("  without an answer", summary.calls_without_answer);
    row("  to retry", summary.calls_to_retry);
    row("orders", summary.orders);
    row("fills", summary.fills);
    row("journal entries", summary.journal_entries);
    row("void orders", summary.void_orders);
    row("void effects", summary.void_effects);
    row("replaces", summary.replaces_by_state.values().sum());
    for (state, count) in &summary.replaces_by_state {
        row(&format!("  {state}"), *count);
    }
    row("faults", summary.faults);
    for (kind, count) in &summary.faults_by_kind {
        row(&format!("  {kind}"), *count);
    }
    if let Some(venue) = &summary.venue_faults {
        row("requests and events of the exchange", venue.requests + venue.events);
        row("faults of the exchange", venue.total());
        for (kind, count) in &venue.by_kind {
            row(&format!("  {kind}"), *count);
        }
    }
    row("longest stop, ms", summary.longest_stop_ms);
    row("bytes lost at failovers of Redis", summary.redis_bytes_lost);
    row("restarts at start", summary.restarts);
    row("load, ms", summary.load_ms);
    row("elapsed, ms", summary.elapsed_ms);
    row("violations", summary.violations);
    let found = summary
        .found
        .iter()
        .map(|one| format!("\n{}: {}", one.check, one.detail));
    format!("{table}{}", found.collect::<String>())
}

/// The directory of a run: removed at its end, unless it is to be kept.
struct RunDirectory {
    path: PathBuf,
    is_kept: bool,
}

impl RunDirectory {
    fn create(kept: Option<&Path>) -> anyhow::Result<Self> {
        let path = match kept {
            Some(path) => std::path::absolute(path).context("the directory to keep")?,
            None => std::env::temp_dir().join(format!("order-router-chaos-{}", uuid::Uuid::new_v4().simple())),
        };
        let is_used = std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
        anyhow::ensure!(!is_used, "{} is not empty: name a new directory", path.display());
        create_private_directory(&path).with_context(|| format!("creating {}", path.display()))?;
        let is_kept = kept.is_some();
        Ok(Self { path, is_kept })
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, directory = %self.path.display(), "the run's directory cannot be removed");
        }
    }
}
