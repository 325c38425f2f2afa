//! Entries that the journal has lost and that no operator has accepted as lost: its first ones, or some in between.

use crate::bus::connection::BusError;
use crate::bus::journal::reader::{JournalExtent, JournalReader};
use crate::bus::subjects;
use crate::wire::journal_loss::JournalLossEvent;

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
        let Some(loss) = JournalLoss::of(extent) else {
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
