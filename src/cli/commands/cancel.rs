//! `cancel`: cancels one order.

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::requests::order_request::{OrderRequestArgs, print_report};

/// Cancels the order and prints its report.
///
/// # Errors
/// When there is no such order, it has ended, or there is no reply.
pub(crate) async fn run(args: &OrderRequestArgs, options: &GlobalOptions) -> CommandResult {
    let (client, order) = args.connect(options, "order-router cancel").await?;
    print_report(&client, client.caller.cancel(&order, client.timeout).await)
}
