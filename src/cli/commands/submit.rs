//! `submit`: submits one order by flags, or many from a file.

pub(in crate::cli) mod arguments;
pub(in crate::cli) mod from_file;
pub(in crate::cli) mod from_flags;
pub(in crate::cli) mod input_lines;
pub(in crate::cli) mod intent_from_flags;
pub(in crate::cli) mod intent_route;
mod summary;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::commands::submit::arguments::SubmitArgs;
use crate::cli::error::CommandResult;
use crate::cli::requests::bus_client::CliClient;

/// The end of `submit --help`.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router submit --broker binance --symbol BTCUSDT --side buy --quantity 0.001 --type limit --price 30000
  order-router submit --broker ibkr --symbol AAPL --side sell --quantity 10 --id my-order-7 --durable
  order-router submit --file intents.ndjson --concurrency 128
  generate | order-router submit --file - --json

The same --id with the same content never creates a second order: the reply is the report of the first. The exit code is
0 when every intent got a report (filled or not), 1 when one was refused, denied or got no reply in time.";

/// Submits the order or the file, and prints the outcome.
///
/// # Errors
/// When an intent is refused, denied or gets no reply in time.
pub(crate) async fn run(args: SubmitArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router submit").await?;
    match &args.file {
        Some(file) => from_file::run(&client, file, args.concurrency, args.durable).await,
        None => from_flags::run(&client, &args).await,
    }
}
