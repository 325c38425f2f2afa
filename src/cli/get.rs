//! `get`: the current report of an order.

use clap::Args;

use super::client::{Client, ClientArgs};
use super::failure::Outcome;
use super::options::Options;
use super::order::OrderArgs;
use super::report;
use crate::bus::subjects;
use crate::wire::report::ExecutionReport;

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks and shows the report.
///
/// # Errors
/// When there is no such order, or no answer.
pub(crate) async fn run(args: &GetArgs, options: &Options) -> Outcome {
    let client = Client::connect(options, &args.client, "order-router get").await?;
    let subject = subjects::get(&args.order.broker, &args.order.account);
    let (reply, read) = client.ask_for::<ExecutionReport>(&subject, args.order.body()?).await?;
    Ok(client.show(&reply.body, || report::card(&read))?)
}
