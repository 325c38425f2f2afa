//! What the commands that list over REST share.

use std::time::Duration;

use clap::Args;

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::CommandResult;
use crate::cli::requests::bus_client::RequestArgs;
use crate::cli::requests::polling;
use crate::cli::requests::polling::{PollingArgs, RenderReply};
use crate::cli::requests::rest_client::RestEndpointArgs;

/// How a list is requested and shown.
#[derive(Debug, Args)]
pub(crate) struct RestListArgs {
    #[command(flatten)]
    polling: PollingArgs,
    #[command(flatten)]
    rest: RestEndpointArgs,
    #[command(flatten)]
    client: RequestArgs,
}

impl RestListArgs {
    /// Requests a path from the sidecar and shows the response, once or by polling.
    ///
    /// # Errors
    /// When the request is refused, or there is no response.
    pub(crate) async fn fetch_and_show<A: RenderReply>(&self, options: &GlobalOptions, path: &str) -> CommandResult {
        let settings = options.load_settings_and_start_log(CommandKind::Client)?;
        let timeout = Duration::from_millis(self.client.timeout_ms);
        let client = self.rest.client(&settings.http.addr, timeout)?;
        polling::show_reply::<A>(&self.polling, self.client.json, async || client.fetch(path).await).await
    }
}
