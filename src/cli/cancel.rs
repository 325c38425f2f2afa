//! `cancel`: cancels one order.

use clap::Args;

use super::client::{Client, ClientArgs};
use super::failure::Outcome;
use super::options::Options;
use super::order::OrderArgs;
use super::report;
use crate::bus::subjects;
use crate::wire::report::ExecutionReport;

/// Arguments of `cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Cancels and shows the report.
///
/// # Errors
/// When there is no such order, it has ended, or there is no answer.
pub(crate) async fn run(args: &CancelArgs, options: &Options) -> Outcome {
    let client = Client::connect(options, &args.client, "order-router cancel").await?;
    let subject = subjects::cancel(&args.order.broker, &args.order.account);
    let (reply, read) = client.ask_for::<ExecutionReport>(&subject, args.order.body()?).await?;
    Ok(client.show(&reply.body, || report::card(&read))?)
}
