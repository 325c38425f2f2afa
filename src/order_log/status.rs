//! The status of the order log: whether it has everything the journal has, and what keeps it from that.

use std::fmt;

/// The status of the order log. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderLogStatus {
    /// The synchronization state.
    pub sync_state: SyncState,
    /// Whether the log has applied everything that the journal held when this process opened the file.
    pub is_complete: bool,
    /// Whether the log has applied every alert that the stream of alerts held then.
    pub has_all_alerts: bool,
    /// How many entries of the journal were skipped: they are missing, or this version cannot decode them.
    pub skipped_entries: u64,
    /// The last journal sequence that is applied.
    pub journal_sequence: u64,
    /// The last journal sequence that is known.
    pub journal_last_sequence: u64,
}

/// The synchronization state of the order log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SyncState {
    /// The file is not open yet.
    #[default]
    Opening,
    /// The log applies what the journal held at the start.
    CatchingUp,
    /// The log follows the streams.
    Current,
    /// The file cannot be written, for this reason; the log retries.
    WriteFailed(String),
    /// A stream cannot be followed, for this reason; the log retries.
    StreamUnavailable(String),
    /// The journal is another one, or has lost entries that the log has. An operator has to decide.
    JournalMismatch(String),
}

impl SyncState {
    /// Returns the state as one word, as `/health` reports it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::CatchingUp => "catching_up",
            Self::Current => "ok",
            Self::WriteFailed(_) | Self::StreamUnavailable(_) => "behind",
            Self::JournalMismatch(_) => "refused",
        }
    }
}

impl OrderLogStatus {
    /// Returns how many known entries of the journal are not applied.
    pub fn lag_entries(&self) -> u64 {
        self.journal_last_sequence.saturating_sub(self.journal_sequence)
    }
}

impl fmt::Display for OrderLogStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (applied, last) = (self.journal_sequence, self.journal_last_sequence);
        match &self.sync_state {
            SyncState::Opening => write!(formatter, "the order log is being opened; retry later")?,
            SyncState::CatchingUp => write!(
                formatter,
                "the order log is being built from the journal and has applied entry {applied} of {last}; retry later"
            )?,
            SyncState::Current => write!(
                formatter,
                "the order log has applied the journal up to entry {applied}; retry"
            )?,
            SyncState::WriteFailed(reason) | SyncState::StreamUnavailable(reason) => write!(
                formatter,
                "the order log is behind, at entry {applied} of the journal, and retries by itself: {reason}"
            )?,
            SyncState::JournalMismatch(reason) => {
                write!(formatter, "the order log does not match the journal: {reason}")?
            }
        }
        match self.skipped_entries {
            0 => Ok(()),
            1 => formatter.write_str("; 1 entry of the journal was skipped, see the log of the sidecar"),
            more => write!(
                formatter,
                "; {more} entries of the journal were skipped, see the log of the sidecar"
            ),
        }
    }
}
