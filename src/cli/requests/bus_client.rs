//! Requests to the router over the bus.

use std::time::Duration;

use clap::Args;

use crate::bus::connection::{BusError, ConnectPolicy, connect};
use crate::bus::journal::{JournalReader, JournalWriter};
use crate::bus::router_client::RouterClient;
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, error_with_reason, undecodable_reply};
use crate::cli::output;
use crate::client::error::CallError;
use crate::config::Settings;
use crate::config::journal::{AppendMode, JournalSettings};
use crate::config::retry::RetrySchedule;
use crate::domain::time::Timestamp;
use crate::fault::Fault;

/// The most requests in flight at once.
pub(crate) const MAX_CONCURRENCY: i64 = 4_096;
/// The longest timeout, in milliseconds: a deadline is at most a day ahead.
const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// The timeout of a request, and the format of its reply.
#[derive(Debug, Clone, Args)]
pub(crate) struct RequestArgs {
    /// Print JSON: the reply, or the problem document.
    #[arg(long)]
    pub(crate) json: bool,
    /// The timeout of the request, in milliseconds; nothing is executed after it.
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_MS))]
    pub(crate) timeout_ms: u64,
}

/// A connection to the router's bus.
#[derive(Debug)]
pub(crate) struct CliClient {
    /// Sends the requests.
    pub(crate) caller: RouterClient,
    /// The settings of this process.
    pub(crate) settings: Settings,
    /// The time from a request to its deadline.
    pub(crate) timeout: Duration,
    /// Whether replies are printed as JSON.
    pub(crate) json: bool,
}

impl CliClient {
    /// Returns a reader of the journal, and a writer of its own for changes that no worker can make.
    pub(crate) fn open_journal(&self) -> (JournalReader, JournalWriter) {
        let bus = self.caller.bus();
        let settings = JournalSettings {
            append: AppendMode::Pipelined,
            ..self.settings.journal.clone()
        };
        let (writer, _task) = JournalWriter::start(bus.clone(), settings);
        (JournalReader::new(bus.clone()), writer)
    }

    /// Connects once; `name` names the connection.
    ///
    /// # Errors
    /// When the settings are invalid, or the attempt fails.
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
            // A person decides whether to send a request again.
            caller: RouterClient::new(bus).with_retry(RetrySchedule::once()),
            settings,
            timeout: Duration::from_millis(args.timeout_ms),
            json: args.json,
        })
    }

    /// Returns the deadline of a request that is sent now.
    pub(crate) fn deadline(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.timeout)
    }

    /// Returns the result of a call as that of the command; with `--json`, a refusal is printed at once.
    ///
    /// # Errors
    /// The refusal, that there is no reply, or that this version cannot decode it.
    pub(crate) fn report<T>(&self, called: Result<T, CallError>) -> Result<T, CommandError> {
        called.map_err(|error| self.print_if_json(error.into()))
    }

    /// Returns the error of a refusal; with `--json`, the problem is printed at once.
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

    /// Prints a reply: its JSON, or its text for people.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn print_reply(&self, body: &[u8], render_text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            output::print_line(body)
        } else {
            output::print_line(render_text())
        }
    }
}

impl From<CallError> for CommandError {
    /// Returns the error of a call, with what to do about it.
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(fault) => fault.into(),
            CallError::Undecodable(reason) => undecodable_reply(reason).into(),
            unknown @ CallError::OutcomeUnknown { .. } => {
                error_with_reason(unknown, "check that a worker is running, then send it again").into()
            }
        }
    }
}
