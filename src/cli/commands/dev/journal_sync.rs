//! When the journal is on disk: `--sync`.

use clap::ValueEnum;

use crate::cli::arguments::global::{SettingFlag, setting_flag};

/// JetStream's `sync_interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JournalSync {
    /// Sync before each acknowledgement: a power cut loses nothing that was acknowledged.
    Always,
    /// Sync every two minutes, the server's default: faster, but a power cut loses what was acknowledged since.
    Default,
}

impl JournalSync {
    /// Returns the `journal.append` setting that is faster with this value.
    pub(crate) fn append_setting_flag(self) -> SettingFlag {
        let append = match self {
            Self::Always => "atomic",
            Self::Default => "pipelined",
        };
        setting_flag("journal.append", append)
    }
}
