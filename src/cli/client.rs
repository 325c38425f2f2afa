//! What the commands share that ask the router something.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde::de::DeserializeOwned;

use super::failure::{Failure, because};
use super::options::{Kind, Options};
use super::output;
use crate::bus::client::{CallError, Caller, Reply};
use crate::bus::connection::{BusError, Patience, connect};
use crate::config::Settings;
use crate::domain::time::Timestamp;
use crate::fault::Fault;

/// The longest wait, in milliseconds: no deadline lies further ahead than a day.
const TIMEOUT_MAX_MS: u64 = 86_400_000;

/// How an answer is waited for and shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArgs {
    /// Prints JSON, for machines: the answer, or the problem document.
    #[arg(long)]
    pub(crate) json: bool,
    /// How long to wait, in milliseconds. It is the request's deadline too: later than that, nothing is executed.
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_MAX_MS))]
    pub(crate) timeout_ms: u64,
}

/// A connection to the router's bus.
#[derive(Debug)]
pub(crate) struct Client {
    /// Makes the calls.
    pub(crate) caller: Caller,
    /// The settings.
    pub(crate) settings: Settings,
    /// How long a call counts.
    pub(crate) timeout: Duration,
    /// Whether answers are shown as JSON.
    pub(crate) json: bool,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the settings cannot be used, or there is no connection at the first attempt.
    pub(crate) async fn connect(options: &Options, args: &ClientArgs, name: &str) -> Result<Self, Failure> {
        let settings = options.start(Kind::Client)?;
        let bus = match connect(&settings.nats, name, Patience::Once).await {
            Ok(bus) => bus,
            Err(error @ BusError::Unreachable(_)) => {
                return Err(because(error, "is the router running? `order-router dev` starts one").into());
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            caller: Caller::new(bus),
            settings,
            timeout: Duration::from_millis(args.timeout_ms),
            json: args.json,
        })
    }

    /// Returns the moment after which nothing may happen for a call that is made now.
    pub(crate) fn deadline(&self) -> Timestamp {
        Timestamp::now().after(self.timeout)
    }

    /// Asks, and tells a refusal.
    ///
    /// # Errors
    /// The refusal, or that nobody has answered.
    pub(crate) async fn ask(&self, subject: &str, body: Vec<u8>) -> Result<Reply, Failure> {
        self.call(subject, body).await.map_err(|failure| self.told(failure))
    }

    /// Asks, and leaves it to the caller to tell a refusal.
    ///
    /// # Errors
    /// The refusal, or that nobody has answered.
    pub(crate) async fn call(&self, subject: &str, body: Vec<u8>) -> Result<Reply, Failure> {
        let asked = self.caller.request(subject, Bytes::from(body), self.deadline()).await;
        asked.map_err(|error| match error {
            CallError::Fault(fault) => fault.into(),
            CallError::Timeout => because(error, "ask again, or look at the workers").into(),
        })
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// As [`Client::ask`]; also when the answer is not what this version knows.
    pub(crate) async fn ask_for<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: Vec<u8>,
    ) -> Result<(Reply, T), Failure> {
        let reply = self.ask(subject, body).await?;
        let read = serde_json::from_slice(&reply.body)
            .map_err(|error| because("the answer is none that this version reads", error))?;
        Ok((reply, read))
    }

    /// Tells machines of a problem now, or leaves it to be told to people at the end.
    pub(crate) fn refused(&self, fault: Fault) -> Failure {
        self.told(fault.into())
    }

    fn told(&self, failure: Failure) -> Failure {
        if self.json { failure.told_as_json() } else { failure }
    }

    /// Shows an answer: as it came, or as people read it.
    ///
    /// # Errors
    /// When nobody reads the output any more.
    pub(crate) fn show(&self, body: &[u8], for_people: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            output::line(body)
        } else {
            output::line(for_people())
        }
    }
}
