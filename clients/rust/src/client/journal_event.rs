//! An entry of the journal with its document.

use serde::de::DeserializeOwned;

use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::time::Timestamp;
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::day::DayEvent;
use crate::wire::heartbeat::HeartbeatEvent;
use crate::wire::journal_loss::JournalLossEvent;
use crate::wire::limits::LimitsEvent;
use crate::wire::lock::LockEvent;
use crate::wire::note::NoteEvent;
use crate::wire::report::ExecutionReport;
use crate::wire::state::StateEvent;
use crate::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND, SubmissionEvent};

/// What happened, by the kind of the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalEvent {
    /// An order changed.
    Report(Box<ExecutionReport>),
    /// An order is about to be sent to a venue outside the store.
    Submitting(Box<SubmissionEvent>),
    /// An order was not sent after all.
    Released(Box<SubmissionEvent>),
    /// Mode, trading state or daily limits changed.
    State(StateEvent),
    /// The limits in force changed.
    Limits(Box<LimitsEvent>),
    /// A lock was set or lifted.
    Lock(Box<LockEvent>),
    /// A dead man's switch was armed, disarmed or fired.
    Heartbeat(HeartbeatEvent),
    /// An account was adjusted.
    Adjustment(Box<AdjustmentEvent>),
    /// A note was added to an order.
    Note(NoteEvent),
    /// A trading day began.
    Day(DayEvent),
    /// A loss of journal entries was accepted.
    JournalLoss(JournalLossEvent),
    /// A kind that this version does not know: a newer router added it.
    Unknown(serde_json::Value),
}

/// One entry of the journal.
///
/// ```
/// use order_router_client::bus::stream_entry::StoredEntry;
/// use order_router_client::domain::time::Timestamp;
/// use order_router_client::{JournalEntry, JournalEvent};
///
/// let stored = StoredEntry {
///     subject: "orders.events.state._".to_owned(),
///     sequence: 41,
///     body: br#"{"version":2,"trading_state":"halted","actor":"mira","reason":"news","timestamp":"2026-03-02T09:00:00Z"}"#
///         .to_vec()
///         .into(),
///     stored_at: Timestamp::now(),
/// };
/// let entry = JournalEntry::decode(&stored)?;
/// assert!(matches!(entry.event, JournalEvent::State(event) if event.actor == "mira"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The sequence of the entry. Follow from it to continue behind this entry.
    pub sequence: u64,
    /// The subject under which the entry was appended.
    pub subject: String,
    /// When the stream stored the entry.
    pub stored_at: Timestamp,
    /// What happened.
    pub event: JournalEvent,
}

impl JournalEntry {
    /// Decodes an entry of the journal.
    ///
    /// # Errors
    /// When the body is not what the kind of the entry says.
    pub fn decode(entry: &StoredEntry) -> Result<Self, serde_json::Error> {
        Ok(Self {
            sequence: entry.sequence,
            subject: entry.subject.clone(),
            stored_at: entry.stored_at,
            event: JournalEvent::decode(&entry.subject, &entry.body)?,
        })
    }
}

impl JournalEvent {
    fn decode(subject: &str, body: &[u8]) -> Result<Self, serde_json::Error> {
        let Some(kind) = subjects::parse_event_kind(subject) else {
            return boxed(body).map(Self::Report);
        };
        match kind {
            SUBMITTING_EVENT_KIND => boxed(body).map(Self::Submitting),
            RELEASED_EVENT_KIND => boxed(body).map(Self::Released),
            subjects::STATE_EVENT_KIND => serde_json::from_slice(body).map(Self::State),
            subjects::LIMITS_EVENT_KIND => boxed(body).map(Self::Limits),
            subjects::LOCK_EVENT_KIND => boxed(body).map(Self::Lock),
            subjects::HEARTBEAT_EVENT_KIND => serde_json::from_slice(body).map(Self::Heartbeat),
            subjects::ADJUSTMENT_EVENT_KIND => boxed(body).map(Self::Adjustment),
            subjects::NOTE_EVENT_KIND => serde_json::from_slice(body).map(Self::Note),
            subjects::DAY_EVENT_KIND => serde_json::from_slice(body).map(Self::Day),
            subjects::JOURNAL_EVENT_KIND => serde_json::from_slice(body).map(Self::JournalLoss),
            _ => serde_json::from_slice(body).map(Self::Unknown),
        }
    }
}

fn boxed<T: DeserializeOwned>(body: &[u8]) -> Result<Box<T>, serde_json::Error> {
    serde_json::from_slice(body).map(Box::new)
}
