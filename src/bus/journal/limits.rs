//! The limits on the journal: the newest event is in force for all workers. A change is appended only behind the event
//! that it was compared with.

use bytes::Bytes;

use crate::bus::connection::BusError;
use crate::bus::journal::entry::{AppendError, JournalEntry};
use crate::bus::journal::reader::JournalReader;
use crate::bus::journal::writer::JournalWriter;
use crate::bus::subjects;
use crate::config::SettingsError;
use crate::config::limits::{LimitDifference, LimitSettings};
use crate::domain::time::Timestamp;
use crate::wire::limits::{
    LimitChange, LimitsEvent, MAX_MESSAGE_BYTES, MAX_NAMED_CHANGES, PackedLimits, PackedLimitsError,
};

/// The limit that a change must not touch: every sum on the journal counts in it.
const BASE_CURRENCY: &str = "risk.base_currency";
/// How often a change is tried because another one came first.
const MAX_CHANGE_ATTEMPTS: usize = 8;

/// Limits on the journal.
#[derive(Debug, Clone)]
pub struct JournaledLimits {
    /// The event.
    pub event: LimitsEvent,
    /// The event's JSON.
    pub document: Bytes,
    /// The event's sequence.
    pub sequence: u64,
}

/// Why limits were not changed.
#[derive(Debug, thiserror::Error)]
pub enum LimitsChangeError {
    /// The journal does not reply, or does not exist.
    #[error("{0}")]
    Bus(#[from] BusError),
    /// The change is not confirmed by the journal.
    #[error("the change of the limits: {0}")]
    Append(#[from] AppendError),
    /// The limits cannot be encoded.
    #[error("{0}")]
    Packed(#[from] PackedLimitsError),
    /// The event has no JSON.
    #[error("the limits cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// The limits do not fit into a message.
    #[error("the limits need {0} bytes, and a message holds {MAX_MESSAGE_BYTES}: list fewer instruments or accounts")]
    TooLarge(usize),
    /// The change would give every sum another meaning.
    #[error(
        "risk.base_currency cannot be changed from {before} to {after}: every sum on the journal counts in {before}. A \
         router in {after} needs a journal and a Redis of its own"
    )]
    BaseCurrency {
        /// The currency of the sums.
        before: String,
        /// The currency of the change.
        after: String,
    },
    /// Other limits are in force than those that the change was compared with.
    #[error("other limits came into force meanwhile (version {version}, by {actor}): compare them and apply again")]
    BaseChanged {
        /// The version in force.
        version: u64,
        /// Who made that change.
        actor: String,
    },
    /// Other changes came first every time.
    #[error("the limits change faster than a change can be journaled; try again")]
    Contention,
}

impl JournaledLimits {
    /// Decodes limits from their event.
    ///
    /// # Errors
    /// When the event cannot be decoded.
    pub fn decode(document: Bytes, sequence: u64) -> Result<Self, BusError> {
        let event = serde_json::from_slice(&document)
            .map_err(|error| BusError::Refused(format!("the limits at the journal's entry {sequence}: {error}")))?;
        Ok(Self {
            event,
            document,
            sequence,
        })
    }

    /// Returns the limits of an event.
    ///
    /// # Errors
    /// Why this release cannot enforce them.
    pub fn settings(&self) -> Result<LimitSettings, SettingsError> {
        settings_of(&self.event)
    }

    /// Returns every limit that differs between these limits and others.
    ///
    /// # Errors
    /// When the event's limits cannot be decompressed.
    pub fn differences(&self, after: &LimitSettings) -> Result<Vec<LimitDifference>, PackedLimitsError> {
        Ok(LimitSettings::differences_from_json(
            &self.event.packed.unpack()?,
            after,
        ))
    }
}

/// Returns the limits of an event.
///
/// # Errors
/// Why this release cannot enforce them.
pub fn settings_of(event: &LimitsEvent) -> Result<LimitSettings, SettingsError> {
    let json = event.packed.unpack();
    let json = json.map_err(|error| SettingsError(vec![error.to_string()]))?;
    LimitSettings::from_json(&json)
}

impl JournalReader {
    /// Returns the limits in force; `None` if the journal has none.
    ///
    /// # Errors
    /// When the stream does not reply, or the event cannot be decoded.
    pub async fn read_limits(&self) -> Result<Option<JournaledLimits>, BusError> {
        let subject = subjects::event(subjects::LIMITS_EVENT_KIND, None);
        match self.read_last_for_subject(&subject).await? {
            Some(stored) => JournaledLimits::decode(stored.body, stored.sequence).map(Some),
            None => Ok(None),
        }
    }
}

/// Journals limits and returns what is then the newest event. Limits that are on it already are not journaled again.
///
/// `base_hash` is the hash of the limits that the change was compared with; `None` for the first limits of a journal: any
/// that are on it are returned as they are.
///
/// # Errors
/// Why the journal does not have the change; after [`AppendError::OutcomeUnknown`] it may have it.
pub async fn change_limits(
    reader: &JournalReader,
    writer: &JournalWriter,
    limits: &LimitSettings,
    base_hash: Option<&str>,
    (actor, reason): (&str, &str),
) -> Result<JournaledLimits, LimitsChangeError> {
    for _ in 0..MAX_CHANGE_ATTEMPTS {
        let newest = reader.read_limits().await?;
        let last_sequence = newest.as_ref().map_or(0, |newest| newest.sequence);
        let event = match (newest, base_hash) {
            (None, _) => limits_event(limits, 1, Vec::new(), actor, reason)?,
            (Some(newest), None) => return Ok(newest),
            (Some(newest), Some(base_hash)) => {
                let differences = newest.differences(limits)?;
                if differences.is_empty() {
                    return Ok(newest);
                }
                if base_hash != newest.event.hash {
                    return Err(LimitsChangeError::BaseChanged {
                        version: newest.event.version,
                        actor: newest.event.actor,
                    });
                }
                check_base_currency(&differences)?;
                limits_event(limits, newest.event.version + 1, differences, actor, reason)?
            }
        };
        let document = Bytes::from(serde_json::to_vec(&event)?);
        if document.len() > MAX_MESSAGE_BYTES {
            return Err(LimitsChangeError::TooLarge(document.len()));
        }
        let entry = JournalEntry {
            subject: subjects::event(subjects::LIMITS_EVENT_KIND, None),
            message_id: format!("limits:{}:{}:{}", event.version, event.hash, event.timestamp),
            body: document.clone(),
            headers: Vec::new(),
        };
        // Where another change came first, the next round finds it: as the newest, or in place of the base.
        if let Some(sequence) = writer.append_if_last(entry, last_sequence).await? {
            return Ok(JournaledLimits {
                event,
                document,
                sequence,
            });
        }
    }
    Err(LimitsChangeError::Contention)
}

/// Checks that a change leaves the currency of the sums as it is.
///
/// # Errors
/// [`LimitsChangeError::BaseCurrency`].
fn check_base_currency(differences: &[LimitDifference]) -> Result<(), LimitsChangeError> {
    match differences.iter().find(|difference| difference.name == BASE_CURRENCY) {
        Some(currency) => Err(LimitsChangeError::BaseCurrency {
            before: currency.before.clone().unwrap_or_default(),
            after: currency.after.clone().unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

fn limits_event(
    limits: &LimitSettings,
    version: u64,
    differences: Vec<LimitDifference>,
    actor: &str,
    reason: &str,
) -> Result<LimitsEvent, LimitsChangeError> {
    let json = limits.to_json()?;
    let change_count = differences.len() as u64;
    let changes = differences.into_iter().take(MAX_NAMED_CHANGES);
    Ok(LimitsEvent {
        version,
        hash: limits.hash()?.0.to_string(),
        packed: PackedLimits::pack(&json)?,
        changes: changes
            .map(|LimitDifference { name, before, after }| LimitChange { name, before, after })
            .collect(),
        change_count,
        actor: actor.to_owned(),
        reason: reason.to_owned(),
        timestamp: Timestamp::now(),
    })
}
