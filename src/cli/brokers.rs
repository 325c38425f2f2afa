//! `brokers`: which brokers the router routes to.

use clap::Args;

use super::client::{Client, ClientArgs};
use super::failure::Outcome;
use super::options::Options;
use super::table::{Align, Table};
use crate::bus::subjects;
use crate::wire::brokers::BrokersAnswer;

/// Arguments of `brokers`.
#[derive(Debug, Args)]
pub(crate) struct BrokersArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks and shows the brokers.
///
/// # Errors
/// When there is no answer.
pub(crate) async fn run(args: &BrokersArgs, options: &Options) -> Outcome {
    let client = Client::connect(options, &args.client, "order-router brokers").await?;
    let (reply, answer) = client
        .ask_for::<BrokersAnswer>(subjects::BROKERS, b"{}".to_vec())
        .await?;
    Ok(client.show(&reply.body, || table(&answer).to_string())?)
}

fn table(answer: &BrokersAnswer) -> Table {
    let columns = ["broker", "venues", "symbols", "time in force"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for detail in &answer.details {
        let times: Vec<&str> = detail.times_in_force.iter().map(|time| time.as_str()).collect();
        table.row([
            detail.broker.clone(),
            detail.venues.join(" "),
            detail.symbols.join(" "),
            times.join(" "),
        ]);
    }
    table
}
