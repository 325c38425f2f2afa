//! What the commands share that list something over REST.

use std::time::Duration;

use clap::Args;

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::CommandResult;
use crate::cli::requests::bus_client::RequestArgs;
use crate::cli::requests::polling;
use crate::cli::requests::polling::{PollingArgs, RenderReply};
use crate::cli::requests::rest_client;
use crate::cli::requests::rest_client::RestEndpointArgs;

/// Where a list is asked for, and how it is shown.
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
    /// Asks the sidecar for a path and shows what it answers, once or again and again.
    ///
    /// # Errors
    /// When the request is refused, or there is no answer.
    pub(crate) async fn fetch_and_show<A: RenderReply>(&self, options: &GlobalOptions, path: &str) -> CommandResult {
        let settings = options.load_settings_and_start_log(CommandKind::Client)?;
        let rest = self.rest.endpoint(settings.http.addr)?;
        let limit = Duration::from_millis(self.client.timeout_ms);
        let look = async || rest_client::fetch(&rest, path, limit).await;
        polling::show_reply::<A>(&self.polling, self.client.json, look).await
    }
}
