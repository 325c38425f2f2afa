//! `journal`: archives the journal, or accepts that it has lost entries.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::bus::connection::{ConnectPolicy, connect};
use crate::bus::journal::accept_loss;
use crate::cli::arguments::audit::AuditArgs;
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::commands::journal_archive;
use crate::cli::error::{CommandResult, error_with_reason};
use crate::cli::output;
use crate::wire::journal_loss::JournalLossEvent;

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
    /// Accept that the journal has lost its first entries, or some in between: rebuilds go on without them.
    AcceptLoss(AcceptLossArgs),
}

#[derive(Debug, Args)]
struct AcceptLossArgs {
    #[command(flatten)]
    audit: AuditArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What `accept-loss` prints as JSON.
#[derive(Debug, Serialize)]
struct AcceptLossOutput {
    /// The journal sequence of the acceptance; null if nothing was lost.
    journal_sequence: Option<u64>,
    /// The acceptance; null if nothing was lost.
    accepted: Option<JournalLossEvent>,
}

/// Runs the subcommand.
///
/// # Errors
/// Those of the subcommand.
pub(crate) async fn run(args: &JournalArgs, options: &GlobalOptions) -> CommandResult {
    match &args.action {
        JournalAction::Archive(args) => journal_archive::run(args, options).await,
        JournalAction::AcceptLoss(args) => accept_and_print(args, options).await,
    }
}

/// Accepts the loss and prints what was accepted.
///
/// # Errors
/// When actor or reason cannot be recorded, or the journal does not take the event.
async fn accept_and_print(args: &AcceptLossArgs, options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let AuditArgs { actor, reason } = &args.audit;
    JournalLossEvent::check_audit(actor, reason).map_err(anyhow::Error::from)?;
    let bus = connect(&settings.nats, "order-router journal", ConnectPolicy::Once).await?;
    let accepted = accept_loss(&bus, &settings.journal, actor, reason)
        .await
        .map_err(|error| error_with_reason("the loss is not accepted", error))?;
    let line = match &accepted {
        _ if args.json => {
            let (accepted, journal_sequence) = accepted.unzip();
            output::to_json_line(&AcceptLossOutput {
                journal_sequence,
                accepted,
            })?
        }
        None => "the journal has lost nothing that is not accepted yet".to_owned(),
        Some((event, sequence)) => format!(
            "accepted at entry {sequence}: the journal has no entries before {}, and lacks {} up to {}. Check state, locks and \
             positions",
            event.first_sequence, event.missing_entries, event.last_sequence
        ),
    };
    Ok(output::print_line(line)?)
}
