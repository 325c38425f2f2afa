//! `get`: the current report of an order.

use clap::Args;

use crate::bus::subjects;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::arguments::order_reference::OrderReferenceArgs;
use crate::cli::error::CommandResult;
use crate::cli::output::report;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::wire::report::ExecutionReport;

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    order: OrderReferenceArgs,
    #[command(flatten)]
    client: RequestArgs,
}

/// Asks and shows the report.
///
/// # Errors
/// When there is no such order, or no answer.
pub(crate) async fn run(args: &GetArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router get").await?;
    let subject = subjects::get(&args.order.broker, &args.order.account);
    let (reply, read) = client
        .request_decoded::<ExecutionReport>(&subject, args.order.encode()?)
        .await?;
    Ok(client.print_reply(&reply.body, || report::render_report(&read))?)
}
