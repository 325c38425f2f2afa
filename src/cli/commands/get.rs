//! `get`: shows the current report of an order.

use crate::bus::subjects;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::requests::order_request::OrderRequestArgs;

/// Requests the report and prints it.
///
/// # Errors
/// When there is no such order, or no reply.
pub(crate) async fn run(args: &OrderRequestArgs, options: &GlobalOptions) -> CommandResult {
    args.request_and_print_report(options, "order-router get", subjects::get)
        .await
}
