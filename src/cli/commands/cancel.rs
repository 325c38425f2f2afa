//! `cancel`: cancels one order.

use crate::bus::subjects;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::requests::order_request::OrderRequestArgs;

/// Cancels the order and prints its report.
///
/// # Errors
/// When there is no such order, it has ended, or there is no reply.
pub(crate) async fn run(args: &OrderRequestArgs, options: &GlobalOptions) -> CommandResult {
    args.request_and_print_report(options, "order-router cancel", subjects::cancel)
        .await
}
