//! An entry before its append, and why an append fails.

use bytes::Bytes;

use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;

/// An entry to append.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    /// The subject under which it is stored.
    pub subject: String,
    /// The id by which the stream recognises a repeated append.
    pub message_id: String,
    /// The event's JSON.
    pub body: Bytes,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl JournalEntry {
    /// Returns the entry of a change of the operator state.
    pub fn state_change(version: u64, document: Bytes) -> Self {
        Self {
            subject: subjects::event(subjects::STATE_EVENT_KIND, None),
            message_id: format!("state:{version}:{}", ContentHash::of(&document).0),
            body: document,
            headers: Vec::new(),
        }
    }
}

/// Why an entry has no sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The entry may be on the journal or not.
    #[error("the journal has not confirmed the entry: {0}")]
    OutcomeUnknown(String),
    /// The entry is not on the journal.
    #[error("the journal refused the entry: {0}")]
    Refused(String),
    /// The entry is not on the journal: the writer's queue has no room.
    #[error("the queue of the journal writer is full")]
    QueueFull,
    /// The journal has lost entries that it acknowledged. Nothing more is appended.
    #[error(
        "the journal is behind: it acknowledged entries up to sequence {seen} and assigns new ones lower sequences"
    )]
    Behind {
        /// The sequence that the entry was assigned; 0 for an entry that was not sent.
        sequence: u64,
        /// The highest sequence known before the entry was sent.
        seen: u64,
    },
}
