//! Why a command failed, and its exit code.

use std::fmt::Display;
use std::process::ExitCode;

use crate::bus::connection::BusError;
use crate::cli::output;
use crate::config::SettingsError;
use crate::fault::Fault;
use crate::wire::problem;

/// The result of a command.
pub(crate) type CommandResult = Result<(), CommandError>;

const EXIT_FAILED: u8 = 1;
const EXIT_WRONG_USAGE: u8 = 2;
const EXIT_DIFFERENT: u8 = 3;
/// The code that shells report for a process that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The router refused the request.
    Refused(Box<Fault>),
    /// The arguments or the settings are invalid.
    Usage(String),
    /// Any other failure.
    Failed(anyhow::Error),
    /// The failure has been printed; only the exit code is left.
    Reported,
    /// What was compared differs, as the command has printed.
    Different,
    /// A signal ended the command before it was finished.
    Interrupted,
}

impl CommandError {
    /// Returns the failure of an operation, which `what` names.
    pub(crate) fn from_error(what: &'static str, error: impl Into<anyhow::Error>) -> Self {
        Self::Failed(error.into().context(what))
    }

    /// Prints the failure to standard error and returns the exit code.
    pub(crate) fn print_and_exit_code(self) -> ExitCode {
        if let Some(text) = self.message() {
            eprintln!("{text}");
        }
        ExitCode::from(match self {
            Self::Refused(_) | Self::Failed(_) | Self::Reported => EXIT_FAILED,
            Self::Usage(_) => EXIT_WRONG_USAGE,
            Self::Different => EXIT_DIFFERENT,
            Self::Interrupted => EXIT_INTERRUPTED,
        })
    }

    /// Returns the text for a person; `None` where it has been printed, or none is due.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Refused(fault) => Some(output::render_problem(fault)),
            Self::Usage(text) => Some(format!("order-router: {text}")),
            Self::Failed(error) => Some(format!("order-router: {error:#}")),
            Self::Reported | Self::Different | Self::Interrupted => None,
        }
    }

    /// Prints a refusal as JSON to standard output; every other failure is left for [`Self::print_and_exit_code`].
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

/// Returns the error of a reply, or a response, that this version cannot decode.
pub(crate) fn undecodable_reply(error: impl Display) -> anyhow::Error {
    error_with_reason("this version cannot decode the reply", error)
}

/// Returns an error that says what failed, and why or what to do.
pub(crate) fn error_with_reason(what: impl Display, reason: impl Display) -> anyhow::Error {
    anyhow::anyhow!("{what}: {reason}")
}
