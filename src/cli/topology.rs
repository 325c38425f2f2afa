//! `topology`: creates or checks the streams and consumers.

use clap::Args;
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::options::{Kind, Options};
use super::output;
use super::table::{Align, Table};
use crate::bus::connection::{Patience, connect};
use crate::bus::topology::{self, Applied, Outcome as Done};
use crate::config::Settings;
use crate::domain::id::BrokerId;

/// Arguments of `topology`.
#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    /// Changes nothing; exits with 1 when something is missing or differs.
    #[arg(long)]
    check: bool,
    /// Prints JSON, for machines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    outcome: &'static str,
}

/// Applies or checks the topology and shows what became of each part.
///
/// # Errors
/// When something stands there that cannot become what is wanted; for a check, when anything is missing or differs.
pub(crate) async fn run(args: &TopologyArgs, options: &Options) -> Outcome {
    let settings = options.start(Kind::Client)?;
    let bus = connect(&settings.nats, "order-router topology", Patience::Once).await?;
    let brokers = brokers(&settings)?;
    let walked = if args.check {
        topology::check(&bus, &settings.nats, &settings.doors, &brokers).await
    } else {
        topology::apply(&bus, &settings.nats, &settings.doors, &brokers).await
    };
    let applied = walked.map_err(anyhow::Error::from)?;
    if args.json {
        let rows: Vec<Row<'_>> = applied.iter().map(row).collect();
        output::line(output::json(&rows)?)?;
    } else {
        let mut table = Table::new(&[("stream or consumer", Align::Left), ("outcome", Align::Left)]);
        applied
            .iter()
            .map(row)
            .for_each(|row| table.row([row.name, row.outcome].map(str::to_owned)));
        output::line(table.to_string())?;
    }
    let is_wanted = |one: &Applied| !matches!(one.outcome, Done::Missing | Done::Differs);
    if applied.iter().all(is_wanted) {
        Ok(())
    } else {
        Err(Failure::Told)
    }
}

fn brokers(settings: &Settings) -> anyhow::Result<Vec<BrokerId>> {
    let names = settings.brokers.enabled.iter();
    Ok(names.map(|name| BrokerId::new(name)).collect::<Result<_, _>>()?)
}

fn row(applied: &Applied) -> Row<'_> {
    let outcome = match applied.outcome {
        Done::Created => "created",
        Done::Unchanged => "unchanged",
        Done::Updated => "updated",
        Done::Missing => "missing",
        Done::Differs => "differs",
    };
    Row {
        name: &applied.name,
        outcome,
    }
}
