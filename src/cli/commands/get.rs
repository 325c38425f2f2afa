//! `get`: shows the current report of an order.

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::requests::order_request::{OrderRequestArgs, print_report};

/// Requests the report and prints it.
///
/// # Errors
/// When there is no such order, or no reply.
pub(crate) async fn run(args: &OrderRequestArgs, options: &GlobalOptions) -> CommandResult {
    let (client, order) = args.connect(options, "order-router get").await?;
    print_report(&client, client.caller.get(&order, client.timeout).await)
}
