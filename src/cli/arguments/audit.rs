//! `--actor` and `--reason`, which the journal keeps with every change.

use clap::Args;

/// Who makes a change, and why.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuditArgs {
    /// Who makes the change; recorded on the journal.
    #[arg(long)]
    pub(crate) actor: String,
    /// Why the change is made; recorded on the journal.
    #[arg(long)]
    pub(crate) reason: String,
}
