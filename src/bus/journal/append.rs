//! One batch of entries on its way to the stream: pipelined or atomic, repeated under the same ids, never told wrongly.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::{HeaderMap, RequestErrorKind};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::time::sleep;

use crate::bus::connection::{Bus, with_timeout};
use crate::bus::headers;
use crate::bus::journal::watermark::JournalWatermark;
use crate::config::journal::JournalSettings;

/// The pause before an append is repeated that the server could not take at that moment.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// JetStream's code for a store that cannot take the message, such as "maximum bytes exceeded".
const STORE_FAILED: u64 = 10_077;
/// JetStream's code for a message whose twin is being stored at this moment.
const DUPLICATE_IN_PROCESS: u64 = 10_158;
const SERVICE_UNAVAILABLE: u16 = 503;

/// What is to be appended.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    /// The subject it is kept under.
    pub subject: String,
    /// What tells a repetition from a new entry.
    pub message_id: String,
    /// The event's JSON.
    pub body: Bytes,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// Why an entry has no sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// It may be on the journal or not.
    #[error("the journal has not confirmed the entry: {0}")]
    OutcomeUnknown(String),
    /// It is not on the journal.
    #[error("the journal does not take the entry: {0}")]
    Refused(String),
    /// It is not on the journal: too many wait.
    #[error("the queue of the journal's writer is full")]
    QueueFull,
    /// The journal has lost entries that it had acknowledged: nothing more is appended.
    #[error("the journal is behind: it has acknowledged entries up to {seen} and gives new ones sequences below that")]
    Behind {
        /// The sequence the entry was given; 0 for one that was not sent any more.
        sequence: u64,
        /// The highest sequence that was seen before it was sent.
        seen: u64,
    },
}

/// What one attempt came to.
enum AppendAttempt {
    Stored(u64),
    /// Nothing was stored, and a repetition would not change that.
    Refused(String),
    /// Nothing was stored this time.
    Unavailable(String),
    /// It may have been stored.
    OutcomeUnknown(String),
    /// It was stored in the place of an entry that the stream has lost, or not sent since it has.
    Behind(AppendError),
}

/// The server's acknowledgement, or its error.
#[derive(Debug, Deserialize)]
struct PublishAck {
    error: Option<JetStreamError>,
    #[serde(default)]
    seq: u64,
    /// Whether the stream had the entry already: `seq` is then that of the first.
    #[serde(default)]
    duplicate: bool,
    /// How many messages an atomic batch has stored.
    #[serde(default)]
    count: u64,
}

#[derive(Debug, Deserialize)]
struct JetStreamError {
    code: u16,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Appends entries that wait together; the results stand in the entries' order.
pub(super) async fn append_batch(
    bus: &Bus,
    settings: &JournalSettings,
    is_atomic: bool,
    watermark: &JournalWatermark,
    entries: &[JournalEntry],
) -> Vec<Result<u64, AppendError>> {
    if is_atomic
        && entries.len() > 1
        && has_unique_message_ids(entries)
        && bus.wait_until_connected(settings.ack_timeout()).await
    {
        match append_atomically(bus, settings, watermark, entries).await {
            Ok(sequences) => return sequences.into_iter().map(Ok).collect(),
            // A duplicate, a lost acknowledgement, a full server: each entry for itself says what became of it, and
            // under the same ids nothing is stored twice.
            Err(reason) => tracing::debug!(
                reason,
                entries = entries.len(),
                "atomic batch not confirmed: singly now"
            ),
        }
    }
    join_all(
        entries
            .iter()
            .map(|entry| append_with_retries(bus, settings, watermark, entry)),
    )
    .await
}

fn has_unique_message_ids(entries: &[JournalEntry]) -> bool {
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().all(|entry| seen.insert(entry.message_id.as_str()))
}

/// Appends one entry to a stream of which nothing is known, repeating it under the same id as often as the settings allow.
pub(crate) async fn append_single(
    bus: &Bus,
    settings: &JournalSettings,
    entry: &JournalEntry,
) -> Result<u64, AppendError> {
    append_with_retries(bus, settings, &JournalWatermark::default(), entry).await
}

async fn append_with_retries(
    bus: &Bus,
    settings: &JournalSettings,
    watermark: &JournalWatermark,
    entry: &JournalEntry,
) -> Result<u64, AppendError> {
    let mut may_be_stored = false;
    let mut reason = String::new();
    for attempt in 1..=settings.attempts {
        match append_once(bus, settings.ack_timeout(), watermark, entry).await {
            AppendAttempt::Stored(sequence) => return Ok(sequence),
            AppendAttempt::Behind(error) => return Err(error),
            AppendAttempt::Refused(why) => {
                reason = why;
                break;
            }
            AppendAttempt::Unavailable(why) => reason = why,
            AppendAttempt::OutcomeUnknown(why) => {
                may_be_stored = true;
                reason = why;
            }
        }
        if attempt < settings.attempts {
            sleep(RETRY_DELAY).await;
        }
    }
    // A refusal says nothing about an earlier attempt.
    Err(if may_be_stored {
        AppendError::OutcomeUnknown(reason)
    } else {
        AppendError::Refused(reason)
    })
}

async fn append_once(
    bus: &Bus,
    timeout: Duration,
    watermark: &JournalWatermark,
    entry: &JournalEntry,
) -> AppendAttempt {
    // The client library would keep the entry and send it after an outage, when nobody waits for it any more.
    if !bus.wait_until_connected(timeout).await {
        return AppendAttempt::Unavailable("the bus is out of reach".to_owned());
    }
    let floor = match watermark.floor() {
        Ok(floor) => floor,
        Err(error) => return AppendAttempt::Behind(error),
    };
    match publish_and_await_ack(bus, timeout, entry, entry_headers(entry)).await {
        Err(attempt) => attempt,
        Ok(PublishAck {
            error: None,
            seq,
            duplicate: true,
            ..
        }) if seq > 0 => AppendAttempt::Stored(seq),
        Ok(PublishAck { error: None, seq, .. }) if seq > 0 => match watermark.record_assigned(floor, seq, seq) {
            Ok(()) => AppendAttempt::Stored(seq),
            Err(error) => AppendAttempt::Behind(error),
        },
        Ok(PublishAck { error: None, .. }) => {
            AppendAttempt::OutcomeUnknown("an acknowledgement without a sequence".to_owned())
        }
        Ok(PublishAck { error: Some(error), .. }) => match (error.err_code, error.code) {
            (STORE_FAILED, _) => AppendAttempt::Refused(error.description),
            (DUPLICATE_IN_PROCESS, _) => AppendAttempt::OutcomeUnknown(error.description),
            (_, SERVICE_UNAVAILABLE) => AppendAttempt::Unavailable(error.description),
            _ => AppendAttempt::Refused(error.description),
        },
    }
}

async fn publish_and_await_ack(
    bus: &Bus,
    timeout: Duration,
    entry: &JournalEntry,
    headers: HeaderMap,
) -> Result<PublishAck, AppendAttempt> {
    let request = async_nats::Request::new()
        .headers(headers)
        .payload(entry.body.clone())
        .timeout(Some(timeout));
    // Twice the limit: the library's own starts after the message has entered its queue.
    let sent = tokio::time::timeout(timeout * 2, bus.client.send_request(entry.subject.clone(), request));
    match sent.await {
        Err(_) => Err(AppendAttempt::OutcomeUnknown("no acknowledgement in time".to_owned())),
        Ok(Ok(message)) => serde_json::from_slice(&message.payload)
            .map_err(|error| AppendAttempt::OutcomeUnknown(format!("an acknowledgement that cannot be read: {error}"))),
        Ok(Err(error)) => Err(match error.kind() {
            RequestErrorKind::NoResponders => AppendAttempt::Unavailable("no stream takes the subject".to_owned()),
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                AppendAttempt::Refused(error.to_string())
            }
            _ => AppendAttempt::OutcomeUnknown(error.to_string()),
        }),
    }
}

fn entry_headers(entry: &JournalEntry) -> HeaderMap {
    let mut map = HeaderMap::new();
    headers::set(&mut map, headers::MESSAGE_ID, &entry.message_id);
    for (name, value) in &entry.headers {
        headers::set(&mut map, name, value);
    }
    map
}

/// Appends all entries or none (ADR-50 of the NATS project); an error says nothing about what was stored.
async fn append_atomically(
    bus: &Bus,
    settings: &JournalSettings,
    watermark: &JournalWatermark,
    entries: &[JournalEntry],
) -> Result<Vec<u64>, String> {
    let floor = watermark.floor().map_err(|error| error.to_string())?;
    let (id, limit) = (uuid::Uuid::new_v4().simple().to_string(), settings.ack_timeout());
    let member = |entry: &JournalEntry, place: usize| {
        let mut map = entry_headers(entry);
        headers::set(&mut map, headers::BATCH_ID, &id);
        headers::set(&mut map, headers::BATCH_SEQUENCE, &place.to_string());
        map
    };
    let (last, first) = entries.split_last().ok_or("an empty batch")?;
    for (index, entry) in first.iter().enumerate() {
        let (subject, map) = (entry.subject.clone(), member(entry, index + 1));
        let published = bus.client.publish_with_headers(subject, map, entry.body.clone());
        with_timeout(limit, "publishing a batch", published)
            .await
            .map_err(|error| error.to_string())?;
    }
    let mut map = member(last, entries.len());
    headers::set(&mut map, headers::BATCH_COMMIT, "1");
    let acknowledged = match publish_and_await_ack(bus, limit, last, map).await {
        Ok(acknowledged) => acknowledged,
        Err(AppendAttempt::Refused(why) | AppendAttempt::Unavailable(why) | AppendAttempt::OutcomeUnknown(why)) => {
            return Err(why);
        }
        Err(AppendAttempt::Stored(_) | AppendAttempt::Behind(_)) => {
            return Err("an acknowledgement of another kind".to_owned());
        }
    };
    if let Some(error) = acknowledged.error {
        return Err(error.description);
    }
    let given =
        batch_sequences(acknowledged.seq, acknowledged.count, entries.len()).ok_or("a commit of another size")?;
    let first = given.first().copied().unwrap_or_default();
    // Where the stream is behind, each entry for itself is refused with that.
    let checked = watermark.record_assigned(floor, first, acknowledged.seq);
    checked.map(|()| given).map_err(|error| error.to_string())
}

/// Returns the members' sequences: the server tells the last one, and stores a batch without a gap.
fn batch_sequences(last: u64, count: u64, members: usize) -> Option<Vec<u64>> {
    let members = u64::try_from(members).ok()?;
    let first = last.checked_sub(members)?.checked_add(1)?;
    (count == members).then(|| (first..=last).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_batch_stand_before_its_commit() {
        assert_eq!(batch_sequences(12, 3, 3), Some(vec![10, 11, 12]));
        assert_eq!(batch_sequences(3, 3, 3), Some(vec![1, 2, 3]));
        assert_eq!(batch_sequences(12, 2, 3), None);
        assert_eq!(batch_sequences(2, 3, 3), None);
    }
}
