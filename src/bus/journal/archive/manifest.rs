//! The manifest of a segment: what it holds, and who archived it. It travels in a header of the segment's message.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bus::headers;
use crate::bus::subjects;
use crate::domain::time::Timestamp;

/// The kind of every subject that is no event's.
const REPORT_KIND: &str = "report";

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentManifest {
    /// When the journal was created whose entries these are.
    pub(super) journal_created: Timestamp,
    /// The sequence of the segment's first entry.
    pub(super) first_sequence: u64,
    /// The sequence of its last entry. A segment has no gap.
    pub(super) last_sequence: u64,
    /// How many entries it holds.
    pub(super) entries: u64,
    /// The size of its entries before compression, in bytes.
    pub(super) entry_bytes: u64,
    /// The SHA-256 of the message's body, in hex.
    pub(super) sha256: String,
    /// The sequence of its newest entry of each kind: a search by subject reads only segments that can match.
    pub(super) newest_by_kind: BTreeMap<String, u64>,
    /// When it was archived.
    pub(super) archived_at: Timestamp,
    /// Who archived it.
    pub(super) actor: String,
    /// Why it was archived.
    pub(super) reason: String,
}

impl SegmentManifest {
    /// Returns the segment's name, as errors and log lines have it.
    pub(super) fn name(&self) -> String {
        segment_name(self.first_sequence, self.last_sequence)
    }

    /// Returns the highest sequence at which an entry of the segment can match a subject or a pattern.
    pub(super) fn newest_match(&self, pattern: &str) -> Option<u64> {
        let kind = kind_of(pattern);
        if kind.contains(['*', '>']) {
            return Some(self.last_sequence);
        }
        self.newest_by_kind.get(kind).copied()
    }

    /// Returns the value of the header that carries the manifest.
    pub(super) fn encode(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Returns the manifest of a message with these headers; `None` if it has none that can be read.
    pub(super) fn decode(headers: &BTreeMap<String, Vec<String>>) -> Option<Self> {
        let text = headers.get(headers::ARCHIVE_MANIFEST)?.first()?;
        serde_json::from_str(text).ok()
    }
}

/// Returns the name of a segment with these entries.
pub(super) fn segment_name(first_sequence: u64, last_sequence: u64) -> String {
    format!("{first_sequence}-{last_sequence}")
}

/// Returns the kind of a subject or a pattern: the event's, or one for all reports.
pub(super) fn kind_of(subject: &str) -> &str {
    subjects::parse_event_kind(subject).unwrap_or(REPORT_KIND)
}
