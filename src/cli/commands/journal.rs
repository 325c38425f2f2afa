//! `journal`: maintenance of the journal.

use clap::{Args, Subcommand};

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::commands::journal_archive;
use crate::cli::error::CommandResult;

/// Arguments of `journal`.
#[derive(Debug, Args)]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    action: JournalAction,
}

#[derive(Debug, Subcommand)]
enum JournalAction {
    /// Move old entries into the archive, check them there, and let the journal drop them.
    #[command(after_help = journal_archive::EXAMPLES)]
    Archive(journal_archive::JournalArchiveArgs),
}

/// Runs the subcommand.
///
/// # Errors
/// Those of the subcommand.
pub(crate) async fn run(args: &JournalArgs, options: &GlobalOptions) -> CommandResult {
    match &args.action {
        JournalAction::Archive(args) => journal_archive::run(args, options).await,
    }
}
