//! How a command ends that was not done.

use std::fmt::Display;
use std::process::ExitCode;

use crate::bus::connection::BusError;
use crate::cli::output;
use crate::config::SettingsError;
use crate::fault::Fault;
use crate::wire::problem;

/// What a command returns.
pub(crate) type CommandResult = Result<(), CommandError>;

const EXIT_FAILED: u8 = 1;
const EXIT_WRONG_USAGE: u8 = 2;
/// What shells use for a process that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The router's word.
    Refused(Box<Fault>),
    /// The arguments or the settings cannot be used.
    Usage(String),
    /// Anything else.
    Failed(anyhow::Error),
    /// It has been told already; the exit code is still to come.
    Reported,
    /// A signal ended it before it was finished.
    Interrupted,
}

impl CommandError {
    /// Returns a failure of what was tried.
    pub(crate) fn from_error(what: &'static str, error: impl Into<anyhow::Error>) -> Self {
        Self::Failed(error.into().context(what))
    }

    /// Tells a person on the standard error stream and returns the exit code.
    pub(crate) fn print_and_exit_code(self) -> ExitCode {
        if let Some(text) = self.message() {
            eprintln!("{text}");
        }
        ExitCode::from(match self {
            Self::Refused(_) | Self::Failed(_) | Self::Reported => EXIT_FAILED,
            Self::Usage(_) => EXIT_WRONG_USAGE,
            Self::Interrupted => EXIT_INTERRUPTED,
        })
    }

    /// Returns what a person is told; `None` where nothing is left to say.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Refused(fault) => Some(output::render_problem(fault)),
            Self::Usage(text) => Some(format!("order-router: {text}")),
            Self::Failed(error) => Some(format!("order-router: {error:#}")),
            Self::Reported | Self::Interrupted => None,
        }
    }

    /// Tells machines of a refusal now, and leaves everything else to be told to people at the end.
    pub(crate) fn print_refusal_as_json(self) -> Self {
        match self {
            Self::Refused(fault) => match output::print_line(problem::encode_problem(&fault)) {
                Ok(()) => Self::Reported,
                Err(error) => error.into(),
            },
            other => other,
        }
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Fault> for CommandError {
    fn from(fault: Fault) -> Self {
        Self::Refused(Box::new(fault))
    }
}

impl From<BusError> for CommandError {
    fn from(error: BusError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<SettingsError> for CommandError {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Returns an error of what was tried with the reason behind it.
pub(crate) fn error_with_reason(what: impl Display, reason: impl Display) -> anyhow::Error {
    anyhow::anyhow!("{what}: {reason}")
}
