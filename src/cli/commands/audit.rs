//! `audit`: verifies the journal, and compares Redis and an order log with it. It changes nothing.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tokio::sync::watch;

use crate::audit::{AuditReport, AuditScope, FindingLevel, JournalCounts, OrderLogCounts, StoreCounts, audit};
use crate::bus::connection::{ConnectPolicy, connect};
use crate::bus::journal::JournalReader;
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::output::findings::{FindingsOutput, print_findings};
use crate::cli::output::journal_progress;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::config::Settings;
use crate::store::Store;
use crate::worker::lifecycle::broker_tasks::brokers_in_store;
use crate::worker::rebuild::fold_journal::{FoldSource, OrderPlaces};

/// The end of `audit --help`.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router audit
  order-router audit --order-log /var/lib/order-router --json
  order-router audit --without-redis --without-order-log

Exit status: 0 no break, 3 breaks or something that could not be decided, 1 not audited, 2 wrong usage.";

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct JournalAuditArgs {
    /// Compare the order log below this data directory [default: data_dir, if it has one].
    #[arg(long, value_name = "DIR", conflicts_with = "without_order_log")]
    order_log: Option<PathBuf>,
    /// Leave the order log out.
    #[arg(long)]
    without_order_log: bool,
    /// Leave Redis out.
    #[arg(long)]
    without_redis: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct AuditOutput<'a> {
    clean: bool,
    journal: JournalCounts,
    redis: Option<StoreCounts>,
    order_log: Option<OrderLogCounts>,
    #[serde(flatten)]
    findings: FindingsOutput<'a>,
    milliseconds: u128,
}

/// Audits and prints what was found.
///
/// # Errors
/// When there is a break or something that could not be decided; when a server or the file is out of reach; when the journal
/// cannot be relied on.
pub(crate) async fn run(args: &JournalAuditArgs, options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let mut signals = ShutdownSignals::listen()?;
    let started = Instant::now();
    let scope = open_scope(args, &settings).await?;
    let position = scope.source.progress.subscribe();
    let audited = journal_progress::with_progress(position, audit(scope));
    let audited = signals.unless_interrupted(Box::pin(audited)).await?;
    let report = audited.map_err(|error| error_with_reason("the journal is not audited", error))?;
    if args.order_log.is_some() && report.order_log.is_none() {
        return Err(CommandError::Usage(
            "--order-log names a directory without an order log".to_owned(),
        ));
    }
    print_report(args, &report, started)?;
    match report.is_clean() {
        true => Ok(()),
        false => Err(CommandError::Different),
    }
}

async fn open_scope(args: &JournalAuditArgs, settings: &Settings) -> Result<AuditScope, CommandError> {
    let bus = connect(&settings.nats, "order-router audit", ConnectPolicy::Once).await?;
    let store = match args.without_redis {
        true => None,
        false => {
            let connected = Store::connect(&settings.redis).await;
            Some(connected.map_err(|error| error_with_reason("Redis (redis.url)", error))?)
        }
    };
    let directory = args.order_log.clone().unwrap_or_else(|| settings.data_dir.0.clone());
    Ok(AuditScope {
        source: FoldSource {
            journal: JournalReader::new(bus),
            places: OrderPlaces::InStore(brokers_in_store(&settings.brokers)),
            retention: settings.redis.retention(),
            progress: watch::Sender::default(),
        },
        store,
        order_log: (!args.without_order_log).then_some(directory),
    })
}

fn print_report(args: &JournalAuditArgs, report: &AuditReport, started: Instant) -> CommandResult {
    if args.json {
        let output = AuditOutput {
            clean: report.is_clean(),
            journal: report.journal,
            redis: report.store,
            order_log: report.order_log,
            findings: FindingsOutput::of(&report.findings),
            milliseconds: started.elapsed().as_millis(),
        };
        return Ok(output::print_line(output::to_json_line(&output)?)?);
    }
    print_findings(&report.findings)?;
    let JournalCounts {
        last_sequence,
        entries,
        reports,
        orders,
        ..
    } = report.journal;
    output::print_line(format!(
        "journal   {entries} entries up to {last_sequence}, {reports} reports of {orders} orders"
    ))?;
    output::print_line(match &report.store {
        None => "redis     left out".to_owned(),
        Some(counts) => format!(
            "redis     {} ledgers, {} open orders, {} remembered ids, {} locks",
            counts.ledgers, counts.open_orders, counts.remembered_ids, counts.locks
        ),
    })?;
    output::print_line(match &report.order_log {
        None => "order log none was compared".to_owned(),
        Some(counts) => format!(
            "order log {} orders, {} executions, {} positions, at entry {}",
            counts.orders, counts.executions, counts.positions, counts.journal_sequence
        ),
    })?;
    let count = |level| report.findings.count(level);
    let (breaks, undecided, notices) = (
        count(FindingLevel::Break),
        count(FindingLevel::Undecided),
        count(FindingLevel::Notice),
    );
    Ok(output::print_line(format!(
        "{breaks} breaks, {undecided} undecided, {notices} notices"
    ))?)
}
