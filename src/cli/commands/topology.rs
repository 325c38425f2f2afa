//! `topology`: creates or checks the streams and consumers.

use clap::Args;
use serde::Serialize;

use crate::bus::connection::{ConnectPolicy, connect};
use crate::bus::topology::{self, ReconcileOutcome, ReconciledResource};
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::config::Settings;
use crate::domain::id::BrokerId;

/// The name of the connection on the NATS server.
const CONNECTION_NAME: &str = "order-router topology";

/// Arguments of `topology`.
#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    /// Change nothing; exit with 1 when a stream or consumer is missing or differs.
    #[arg(long)]
    check: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct TopologyRow<'a> {
    name: &'a str,
    outcome: &'static str,
}

/// Applies or checks the topology and prints the outcome for each stream and consumer.
///
/// # Errors
/// When an existing stream cannot be changed as required; for a check, when a stream or consumer is missing or differs.
pub(crate) async fn run(args: &TopologyArgs, options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let resources = if args.check {
        check_settings(&settings, CONNECTION_NAME).await?
    } else {
        apply_settings(&settings, CONNECTION_NAME).await?
    };
    if args.json {
        let rows: Vec<TopologyRow<'_>> = resources.iter().map(topology_row).collect();
        output::print_line(output::to_json_line(&rows)?)?;
    } else {
        let mut table = TextTable::new(&[
            ("stream or consumer", ColumnAlign::Left),
            ("outcome", ColumnAlign::Left),
        ]);
        resources
            .iter()
            .map(topology_row)
            .for_each(|row| table.push_row([row.name, row.outcome].map(str::to_owned)));
        output::print_line(table.to_string())?;
    }
    let is_in_place = |resource: &ReconciledResource| {
        !matches!(resource.outcome, ReconcileOutcome::Missing | ReconcileOutcome::Differs)
    };
    if resources.iter().all(is_in_place) {
        Ok(())
    } else {
        Err(CommandError::Reported)
    }
}

/// Applies the topology of the settings.
///
/// # Errors
/// When NATS is unreachable, or an existing stream cannot be changed as required.
pub(crate) async fn apply_settings(
    settings: &Settings,
    connection_name: &str,
) -> anyhow::Result<Vec<ReconciledResource>> {
    let bus = connect(&settings.nats, connection_name, ConnectPolicy::Once).await?;
    let brokers = enabled_brokers(settings)?;
    Ok(topology::apply(&bus, &settings.nats, &settings.doors, &brokers).await?)
}

async fn check_settings(settings: &Settings, connection_name: &str) -> anyhow::Result<Vec<ReconciledResource>> {
    let bus = connect(&settings.nats, connection_name, ConnectPolicy::Once).await?;
    let brokers = enabled_brokers(settings)?;
    Ok(topology::check(&bus, &settings.nats, &settings.doors, &brokers).await?)
}

/// Returns the brokers of the settings.
///
/// # Errors
/// When a name is no broker's.
pub(crate) fn enabled_brokers(settings: &Settings) -> anyhow::Result<Vec<BrokerId>> {
    let names = settings.brokers.enabled.iter();
    Ok(names.map(|name| BrokerId::new(name)).collect::<Result<_, _>>()?)
}

fn topology_row(resource: &ReconciledResource) -> TopologyRow<'_> {
    let outcome = match resource.outcome {
        ReconcileOutcome::Created => "created",
        ReconcileOutcome::Unchanged => "unchanged",
        ReconcileOutcome::Updated => "updated",
        ReconcileOutcome::Missing => "missing",
        ReconcileOutcome::Differs => "differs",
    };
    TopologyRow {
        name: &resource.name,
        outcome,
    }
}
