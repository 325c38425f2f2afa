//! How the log stands: whether it has everything the journal has, and what keeps it from that.

use std::fmt;

/// How the log stands. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderLogStatus {
    /// What it is at.
    pub sync_state: SyncState,
    /// Whether it has held everything the journal held, since this process has opened it.
    pub is_complete: bool,
    /// Whether it has held every alert that the stream of alerts held.
    pub has_all_alerts: bool,
    /// How many entries of the journal are left out: they were missing, or this version cannot read them.
    pub skipped_entries: u64,
    /// The last sequence of the journal that is applied.
    pub journal_sequence: u64,
    /// The last sequence that the journal is known to have.
    pub journal_last_sequence: u64,
}

/// What the log is at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SyncState {
    /// It has not been opened yet.
    #[default]
    Opening,
    /// It reads what it does not have yet.
    CatchingUp,
    /// It follows.
    Current,
    /// Something is in the way of the file; it is tried again and again.
    WriteFailed(String),
    /// A stream cannot be followed; it is tried again and again.
    StreamUnavailable(String),
    /// The journal is another one, or has lost what the log has: somebody has to look at it.
    JournalMismatch(String),
}

impl SyncState {
    /// Returns one word for it.
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
    /// Returns how many entries of the journal are known and not applied.
    pub fn lag_entries(&self) -> u64 {
        self.journal_last_sequence.saturating_sub(self.journal_sequence)
    }
}

impl fmt::Display for OrderLogStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, last) = (self.journal_sequence, self.journal_last_sequence);
        match &self.sync_state {
            SyncState::Opening => write!(formatter, "the order log is being opened; ask again")?,
            SyncState::CatchingUp => write!(
                formatter,
                "the order log is being made from the journal: it has come to entry {at} of {last}; ask again"
            )?,
            SyncState::Current => write!(
                formatter,
                "the order log has come to entry {at} of the journal; ask again"
            )?,
            SyncState::WriteFailed(why) | SyncState::StreamUnavailable(why) => write!(
                formatter,
                "the order log is behind, at entry {at} of the journal, and goes on by itself: {why}"
            )?,
            SyncState::JournalMismatch(why) => write!(formatter, "the order log does not follow the journal: {why}")?,
        }
        match self.skipped_entries {
            0 => Ok(()),
            1 => formatter.write_str("; 1 entry of the journal is left out, see the sidecar's log"),
            more => write!(
                formatter,
                "; {more} entries of the journal are left out, see the sidecar's log"
            ),
        }
    }
}
