//! `brokers`: lists the brokers that the router routes to.

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::wire::brokers::BrokerList;

/// Arguments of `brokers`.
#[derive(Debug, Args)]
pub(crate) struct BrokersArgs {
    #[command(flatten)]
    client: RequestArgs,
}

/// Requests the list and prints it.
///
/// # Errors
/// When there is no reply.
pub(crate) async fn run(args: &BrokersArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router brokers").await?;
    let list = client.report(client.caller.brokers(client.timeout).await)?;
    Ok(client.print_reply(&list.reply.body, || brokers_table(&list).to_string())?)
}

fn brokers_table(list: &BrokerList) -> TextTable {
    let columns = ["broker", "venues", "symbols", "time in force"].map(|name| (name, ColumnAlign::Left));
    let mut table = TextTable::new(&columns);
    for detail in &list.details {
        let times: Vec<&str> = detail.times_in_force.iter().map(|time| time.as_str()).collect();
        table.push_row([
            detail.broker.clone(),
            detail.venues.join(" "),
            detail.symbols.join(" "),
            times.join(" "),
        ]);
    }
    table
}
