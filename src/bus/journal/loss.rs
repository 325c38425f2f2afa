//! Entries that the journal has lost and that no operator has accepted as lost: its first ones, or some in between.

use crate::bus::connection::{Bus, BusError};
use crate::bus::journal::entry::{AppendError, JournalEntry};
use crate::bus::journal::reader::{JournalExtent, JournalReader};
use crate::bus::journal::writer::JournalWriter;
use crate::bus::subjects;
use crate::config::journal::JournalSettings;
use crate::domain::time::Timestamp;
use crate::wire::journal_loss::{JournalChange, JournalLossEvent};

/// How often an acceptance is appended because another one came first.
const MAX_ACCEPT_ATTEMPTS: usize = 3;

/// Why a loss was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptLossError {
    /// The journal does not reply, or does not exist.
    #[error("{0}")]
    Bus(#[from] BusError),
    /// The acceptance is not journaled.
    #[error("the acceptance is not journaled: {0}")]
    Append(#[from] AppendError),
    /// The acceptance has no JSON.
    #[error("the acceptance cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// Other acceptances were journaled at the same time.
    #[error("other acceptances came first; try again")]
    Contention,
}

/// A loss of journal entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal (stream ORDER_REPORTS) begins at sequence {first_sequence} and lacks {missing_entries} entries between \
     that and {last_sequence}: it was purged, has a maximum age, or was restored in part"
)]
pub struct JournalLoss {
    /// The sequence of the first entry that the journal has, or will have.
    pub first_sequence: u64,
    /// The sequence of its last entry.
    pub last_sequence: u64,
    /// How many entries are missing between these two.
    pub missing_entries: u64,
}

impl JournalLoss {
    /// Returns what a journal of this extent has lost; `None` if it has every entry from sequence 1 on.
    pub fn of(extent: &JournalExtent) -> Option<Self> {
        (extent.first_sequence > 1 || extent.missing_entries > 0).then_some(Self {
            first_sequence: extent.first_sequence.max(1),
            last_sequence: extent.last_sequence,
            missing_entries: extent.missing_entries,
        })
    }

    /// Reports whether an operator accepted the loss.
    fn is_accepted_by(&self, accepted: &JournalLossEvent) -> bool {
        self.first_sequence <= accepted.first_sequence && self.missing_entries <= accepted.missing_entries
    }
}

impl JournalReader {
    /// Returns what a journal of this extent has lost and no operator has accepted.
    ///
    /// # Errors
    /// When the stream does not reply.
    pub async fn find_unaccepted_loss(&self, extent: &JournalExtent) -> Result<Option<JournalLoss>, BusError> {
        // What the archive has is not lost.
        let readable = JournalExtent {
            first_sequence: self.first_covered_of(extent).await?,
            ..extent.clone()
        };
        let Some(loss) = JournalLoss::of(&readable) else {
            return Ok(None);
        };
        let accepted = self.read_accepted_loss().await?.map(|(event, _)| event);
        Ok(Some(loss).filter(|loss| !accepted.is_some_and(|accepted| loss.is_accepted_by(&accepted))))
    }

    /// Returns the last accepted loss and its sequence; `None` if none was accepted.
    ///
    /// # Errors
    /// When the stream does not reply, or the event cannot be decoded.
    pub async fn read_accepted_loss(&self) -> Result<Option<(JournalLossEvent, u64)>, BusError> {
        let subject = subjects::event(subjects::JOURNAL_EVENT_KIND, None);
        let Some(stored) = self.read_last_for_subject(&subject).await? else {
            return Ok(None);
        };
        let event = serde_json::from_slice(&stored.body).map_err(|error| {
            BusError::Refused(format!(
                "the journal's entry {} cannot be decoded: {error}",
                stored.sequence
            ))
        })?;
        Ok(Some((event, stored.sequence)))
    }
}

/// Accepts what the journal has lost: appends an event that names it, with actor and reason. Returns the event and its
/// sequence; `None` if nothing is lost that was not accepted before.
///
/// # Errors
/// When the journal does not exist, does not reply or does not take the event.
pub async fn accept_loss(
    bus: &Bus,
    settings: &JournalSettings,
    actor: &str,
    reason: &str,
) -> Result<Option<(JournalLossEvent, u64)>, AcceptLossError> {
    let reader = JournalReader::new(bus.clone());
    let (writer, _task) = JournalWriter::start(bus.clone(), settings.clone());
    for _ in 0..MAX_ACCEPT_ATTEMPTS {
        let extent = reader.read_extent().await?;
        let Some(loss) = reader.find_unaccepted_loss(&extent).await? else {
            return Ok(None);
        };
        let last_accepted = reader.read_accepted_loss().await?.map_or(0, |(_, sequence)| sequence);
        let event = JournalLossEvent {
            event: JournalChange::LossAccepted,
            first_sequence: loss.first_sequence,
            last_sequence: loss.last_sequence,
            missing_entries: loss.missing_entries,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            timestamp: Timestamp::now(),
        };
        let entry = JournalEntry {
            subject: subjects::event(subjects::JOURNAL_EVENT_KIND, None),
            message_id: format!(
                "journal:{}:{}:{}",
                loss.first_sequence, loss.last_sequence, event.timestamp
            ),
            body: serde_json::to_vec(&event)?.into(),
            headers: Vec::new(),
        };
        writer.observe_sequence(extent.last_sequence);
        if let Some(sequence) = writer.append_if_last(entry, last_accepted).await? {
            return Ok(Some((event, sequence)));
        }
    }
    Err(AcceptLossError::Contention)
}
