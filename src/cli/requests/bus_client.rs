//! What the commands share that ask the router something.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde::de::DeserializeOwned;

use crate::bus::connection::{BusError, ConnectPolicy, connect};
use crate::bus::router_client::{ReceivedReply, RequestError, RouterClient};
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, error_with_reason};
use crate::cli::output;
use crate::config::Settings;
use crate::domain::time::Timestamp;
use crate::fault::Fault;

/// The longest wait, in milliseconds: no deadline lies further ahead than a day.
const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// How an answer is waited for and shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct RequestArgs {
    /// Prints JSON, for machines: the answer, or the problem document.
    #[arg(long)]
    pub(crate) json: bool,
    /// How long to wait, in milliseconds. It is the request's deadline too: later than that, nothing is executed.
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_MS))]
    pub(crate) timeout_ms: u64,
}

/// A connection to the router's bus.
#[derive(Debug)]
pub(crate) struct CliClient {
    /// Makes the calls.
    pub(crate) caller: RouterClient,
    /// The settings.
    pub(crate) settings: Settings,
    /// How long a call counts.
    pub(crate) timeout: Duration,
    /// Whether answers are shown as JSON.
    pub(crate) json: bool,
}

impl CliClient {
    /// Connects.
    ///
    /// # Errors
    /// When the settings cannot be used, or there is no connection at the first attempt.
    pub(crate) async fn connect(options: &GlobalOptions, args: &RequestArgs, name: &str) -> Result<Self, CommandError> {
        let settings = options.load_settings_and_start_log(CommandKind::Client)?;
        let bus = match connect(&settings.nats, name, ConnectPolicy::Once).await {
            Ok(bus) => bus,
            Err(error @ BusError::Unreachable(_)) => {
                return Err(error_with_reason(error, "is the router running? `order-router dev` starts one").into());
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            caller: RouterClient::new(bus),
            settings,
            timeout: Duration::from_millis(args.timeout_ms),
            json: args.json,
        })
    }

    /// Returns the moment after which nothing may happen for a call that is made now.
    pub(crate) fn deadline(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.timeout)
    }

    /// Asks, and tells a refusal.
    ///
    /// # Errors
    /// The refusal, or that nobody has answered.
    pub(crate) async fn request_or_print_refusal(
        &self,
        subject: &str,
        body: Vec<u8>,
    ) -> Result<ReceivedReply, CommandError> {
        self.request(subject, body)
            .await
            .map_err(|failure| self.print_if_json(failure))
    }

    /// Asks, and leaves it to the caller to tell a refusal.
    ///
    /// # Errors
    /// The refusal, or that nobody has answered.
    pub(crate) async fn request(&self, subject: &str, body: Vec<u8>) -> Result<ReceivedReply, CommandError> {
        let asked = self.caller.request(subject, Bytes::from(body), self.deadline()).await;
        asked.map_err(|error| match error {
            RequestError::Fault(fault) => fault.into(),
            RequestError::Timeout => error_with_reason(error, "ask again, or look at the workers").into(),
        })
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// As [`Client::ask`]; also when the answer is not what this version knows.
    pub(crate) async fn request_decoded<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: Vec<u8>,
    ) -> Result<(ReceivedReply, T), CommandError> {
        let reply = self.request_or_print_refusal(subject, body).await?;
        let read = serde_json::from_slice(&reply.body)
            .map_err(|error| error_with_reason("the answer is none that this version reads", error))?;
        Ok((reply, read))
    }

    /// Tells machines of a problem now, or leaves it to be told to people at the end.
    pub(crate) fn print_refusal(&self, fault: Fault) -> CommandError {
        self.print_if_json(fault.into())
    }

    fn print_if_json(&self, failure: CommandError) -> CommandError {
        if self.json {
            failure.print_refusal_as_json()
        } else {
            failure
        }
    }

    /// Shows an answer: as it came, or as people read it.
    ///
    /// # Errors
    /// When nobody reads the output any more.
    pub(crate) fn print_reply(&self, body: &[u8], render_text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            output::print_line(body)
        } else {
            output::print_line(render_text())
        }
    }
}
