//! A journal entry as an audit reads it: decoded once for its rules, and once for the fold.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::audit::logged_row::LoggedRow;
use crate::bus::connection::BusError;
use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::order::Order;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::day::DayEvent;
use crate::wire::journal_report::restore_order;
use crate::wire::report::ExecutionReport;
use crate::wire::settlement::ReportSettlement;
use crate::wire::state::StateEvent;
use crate::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND, SubmissionEvent};
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::fold_journal::{DecodedEntry, decode_entry};

/// A decoded entry.
pub(super) struct AuditedEntry {
    pub(super) sequence: u64,
    pub(super) stored_at: Timestamp,
    /// What its body is recognised by.
    pub(super) digest: u64,
    pub(super) content: AuditedContent,
    /// What the fold makes of it; `None` where it cannot be decoded.
    pub(super) folded: Option<DecodedEntry>,
}

/// What an entry carries.
pub(super) enum AuditedContent {
    /// A report of an order.
    Report(Box<AuditedReport>),
    /// A submission, or its release.
    Submission(Box<AuditedSubmission>),
    /// An adjustment.
    Adjustment(Box<AdjustmentEvent>),
    /// Nothing that has rules of its own.
    Other,
    /// Entries that the journal has lost, to this sequence.
    Gap {
        /// The last of them.
        to: u64,
    },
    /// An entry that cannot be decoded, and why.
    Unreadable(String),
}

/// A report.
pub(super) struct AuditedReport {
    pub(super) report: ExecutionReport,
    pub(super) order: Order,
    pub(super) settlement: Box<ReportSettlement>,
    /// The digest of the order log's row after it.
    pub(super) row_digest: u64,
    /// Broker and account of its subject.
    pub(super) subject: String,
}

/// A submission, or its release.
pub(super) struct AuditedSubmission {
    pub(super) order: Order,
    pub(super) settlement: Box<ReportSettlement>,
    pub(super) deltas: SumDeltas,
    /// The token of the lease that it was submitted or released under.
    pub(super) claim: String,
    pub(super) is_released: bool,
    pub(super) row_digest: u64,
}

/// Decodes an entry, or a gap of the journal.
///
/// # Errors
/// When the journal does not reply.
pub(super) fn decode(entry: Result<StoredEntry, BusError>) -> Result<AuditedEntry, StoreRebuildError> {
    let stored = match entry {
        Err(BusError::JournalGap { from, to }) => {
            return Ok(AuditedEntry {
                sequence: from,
                stored_at: Timestamp::from_milliseconds(0),
                digest: 0,
                content: AuditedContent::Gap { to },
                folded: Some(decode_entry(Err(BusError::JournalGap { from, to }))?),
            });
        }
        entry => entry?,
    };
    let (sequence, stored_at, digest) = (stored.sequence, stored.stored_at, digest_of(&stored.body));
    let decoded = decode_content(&stored);
    let (content, folded) = match (decoded, decode_entry(Ok(stored))) {
        (Ok(content), Ok(folded)) => (content, Some(folded)),
        (Err(error), _) => (AuditedContent::Unreadable(error), None),
        (Ok(_), Err(error)) => (AuditedContent::Unreadable(error.to_string()), None),
    };
    Ok(AuditedEntry {
        sequence,
        stored_at,
        digest,
        content,
        folded,
    })
}

fn decode_content(stored: &StoredEntry) -> Result<AuditedContent, String> {
    let body = &stored.body;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    if subjects::is_report(&stored.subject) {
        let report = ExecutionReport::decode(body).map_err(|error| text(&error))?;
        let (order, settlement) = restore_order(report.clone()).map_err(|error| text(&error))?;
        return Ok(AuditedContent::Report(Box::new(AuditedReport {
            row_digest: LoggedRow::of_report(&report).digest(),
            subject: stored.subject.clone(),
            report,
            order,
            settlement,
        })));
    }
    if subjects::is_adjustment(&stored.subject) {
        let event = serde_json::from_slice(body).map_err(|error| text(&error))?;
        return Ok(AuditedContent::Adjustment(event));
    }
    match subjects::parse_event_kind(&stored.subject) {
        Some(kind @ (SUBMITTING_EVENT_KIND | RELEASED_EVENT_KIND)) => {
            let event: SubmissionEvent = serde_json::from_slice(body).map_err(|error| text(&error))?;
            let (order, settlement) = restore_order(event.order.clone()).map_err(|error| text(&error))?;
            Ok(AuditedContent::Submission(Box::new(AuditedSubmission {
                row_digest: LoggedRow::of_report(&event.order).digest(),
                deltas: settlement.deltas.try_into().map_err(|error| text(&error))?,
                claim: event.claim,
                is_released: kind == RELEASED_EVENT_KIND,
                order,
                settlement,
            })))
        }
        Some(subjects::STATE_EVENT_KIND) => check_json::<StateEvent>(body),
        Some(subjects::DAY_EVENT_KIND) => check_json::<DayEvent>(body),
        Some(_) => check_json::<Value>(body),
        None => Err(format!("the subject {} is none of the journal's", stored.subject)),
    }
}

fn check_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<AuditedContent, String> {
    let decoded: Result<T, _> = serde_json::from_slice(body);
    decoded
        .map(|_| AuditedContent::Other)
        .map_err(|error| error.to_string())
}

/// Returns what a body is recognised by.
pub(super) fn digest_of(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// Returns the first field in which two documents differ, with both values; `None` where they are equal.
pub(super) fn first_difference(first: &Value, second: &Value) -> Option<(String, String, String)> {
    match (first, second) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            names.into_iter().find_map(|name| {
                let of = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or(Value::Null);
                let (path, expected, found) = first_difference(&of(one), &of(other))?;
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{name}.{path}")
                };
                Some((path, expected, found))
            })
        }
        _ => (first != second).then(|| (String::new(), first.to_string(), second.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn first_difference_names_the_field_and_both_values() {
        let one = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}});
        assert_eq!(first_difference(&one, &one.clone()), None);
        let other = json!({"a": 1, "b": {"c": [1, 3], "d": "y"}});
        let found = ("b.c".to_owned(), "[1,2]".to_owned(), "[1,3]".to_owned());
        assert_eq!(first_difference(&one, &other), Some(found));
        let less = json!({"b": {"c": [1, 2], "d": "x"}});
        assert_eq!(
            first_difference(&one, &less),
            Some(("a".to_owned(), "1".to_owned(), "null".to_owned()))
        );
    }
}
