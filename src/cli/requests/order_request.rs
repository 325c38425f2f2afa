//! A request about one order whose reply is its report: `get` and `cancel`.

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::arguments::order_reference::OrderReferenceArgs;
use crate::cli::error::CommandResult;
use crate::cli::output::report;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::domain::id::{AccountId, BrokerId};
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
    /// Sends the request to the subject of the order's broker and account, if it has one, and prints the report in the reply.
    /// `name` names the connection.
    ///
    /// # Errors
    /// When the request is refused, or there is no reply.
    pub(crate) async fn request_and_print_report(
        &self,
        options: &GlobalOptions,
        name: &str,
        subject: fn(&BrokerId, Option<&AccountId>) -> String,
    ) -> CommandResult {
        let client = CliClient::connect(options, &self.client, name).await?;
        let subject = subject(&self.order.broker, self.order.account().as_ref());
        let (reply, read) = client
            .request_decoded::<ExecutionReport>(&subject, self.order.encode()?)
            .await?;
        Ok(client.print_reply(&reply.body, || report::render_report(&read))?)
    }
}
