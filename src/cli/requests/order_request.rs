//! A request about one order whose reply is its report: `get` and `cancel`.

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::arguments::order_reference::OrderReferenceArgs;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output::report;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::client::error::CallError;
use crate::client::order_key::OrderKey;
use crate::client::typed_reply::TypedReply;
use crate::wire::report::ExecutionReport;

/// Arguments of a request about one order.
#[derive(Debug, Args)]
pub(crate) struct OrderRequestArgs {
    #[command(flatten)]
    order: OrderReferenceArgs,
    #[command(flatten)]
    client: RequestArgs,
}

impl OrderRequestArgs {
    /// Connects; `name` names the connection. Returns the client, and the order that the flags name.
    ///
    /// # Errors
    /// When the settings are invalid, or NATS is out of reach.
    pub(crate) async fn connect(
        &self,
        options: &GlobalOptions,
        name: &str,
    ) -> Result<(CliClient, OrderKey), CommandError> {
        let order = self.order.order_key()?;
        Ok((CliClient::connect(options, &self.client, name).await?, order))
    }
}

/// Prints the report that a call has returned.
///
/// # Errors
/// When the request is refused, or there is no reply.
pub(crate) fn print_report(
    client: &CliClient,
    called: Result<TypedReply<ExecutionReport>, CallError>,
) -> CommandResult {
    let report = client.report(called)?;
    Ok(client.print_reply(&report.reply.body, || report::render_report(&report))?)
}
