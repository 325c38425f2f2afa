//! What the commands share that list something over REST.

use std::time::Duration;

use clap::Args;

use super::client::ClientArgs;
use super::failure::Outcome;
use super::http::{self, RestArgs};
use super::options::{Kind, Options};
use super::watching::{self, Answer, WatchingArgs};

/// Where a list is asked for, and how it is shown.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    watching: WatchingArgs,
    #[command(flatten)]
    rest: RestArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl ListArgs {
    /// Asks the sidecar for a path and shows what it answers, once or again and again.
    ///
    /// # Errors
    /// When the request is refused, or there is no answer.
    pub(crate) async fn show<A: Answer>(&self, options: &Options, path: &str) -> Outcome {
        let settings = options.start(Kind::Client)?;
        let rest = self.rest.rest(settings.http.addr)?;
        let limit = Duration::from_millis(self.client.timeout_ms);
        let look = async || http::get(&rest, path, limit).await;
        watching::show::<A>(&self.watching, self.client.json, look).await
    }
}
