//! Appending a batch of entries to a stream: pipelined or atomic, and retried under the same message ids.
//!
//! An entry is reported as stored or refused only if that is certain; otherwise its outcome is unknown.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::{HeaderMap, RequestErrorKind};
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::time::sleep;

use crate::bus::connection::{Bus, with_timeout};
use crate::bus::headers;
use crate::bus::journal::entry::{AppendError, JournalEntry};
use crate::bus::journal::watermark::JournalWatermark;
use crate::config::journal::JournalSettings;

/// The delay before an append is retried.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// JetStream's error code for a stream that cannot store the message, such as "maximum bytes exceeded".
const STORE_FAILED: u64 = 10_077;
/// JetStream's error code for a message whose duplicate is being stored at the same time.
const DUPLICATE_IN_PROCESS: u64 = 10_158;
const SERVICE_UNAVAILABLE: u16 = 503;

/// The result of one attempt.
enum AppendAttempt {
    /// The entry is stored at this sequence.
    Stored(u64),
    /// Nothing was stored, and a retry would not change that.
    Refused(String),
    /// Nothing was stored by this attempt; a retry may succeed.
    Unavailable(String),
    /// The entry may have been stored.
    OutcomeUnknown(String),
    /// The entry was stored at the sequence of an entry that the stream has lost, or was not sent for that reason.
    Behind(AppendError),
}

/// The server's acknowledgement, or its error.
#[derive(Debug, Deserialize)]
struct PublishAck {
    error: Option<JetStreamError>,
    #[serde(default)]
    seq: u64,
    /// Whether the stream had the entry already: `seq` is then the sequence of the first append.
    #[serde(default)]
    duplicate: bool,
    /// How many messages an atomic batch stored.
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

/// Appends a batch of entries. Returns the results in the entries' order.
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
            // A duplicate, a lost acknowledgement, a full server: a single append of each entry yields its result, and
            // under the same ids nothing is stored twice.
            Err(reason) => tracing::debug!(
                reason,
                entries = entries.len(),
                "an atomic batch is not confirmed; its entries are appended singly"
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

/// Appends one entry to a stream without a watermark. It is retried under the same id as often as the settings allow.
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
            AppendAttempt::Refused(cause) => {
                reason = cause;
                break;
            }
            AppendAttempt::Unavailable(cause) => reason = cause,
            AppendAttempt::OutcomeUnknown(cause) => {
                may_be_stored = true;
                reason = cause;
            }
        }
        if attempt < settings.attempts {
            sleep(RETRY_DELAY).await;
        }
    }
    // A refusal does not decide an earlier attempt.
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
    // The client library would buffer the entry and send it after an outage, when its caller no longer waits.
    if !bus.wait_until_connected(timeout).await {
        return AppendAttempt::Unavailable("NATS is unreachable".to_owned());
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
            AppendAttempt::OutcomeUnknown("the acknowledgement has no sequence".to_owned())
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
    // Twice the limit: the time limit of the client library starts when the message has entered its queue.
    let sent = tokio::time::timeout(timeout * 2, bus.client.send_request(entry.subject.clone(), request));
    match sent.await {
        Err(_) => Err(AppendAttempt::OutcomeUnknown("no acknowledgement in time".to_owned())),
        Ok(Ok(message)) => serde_json::from_slice(&message.payload)
            .map_err(|error| AppendAttempt::OutcomeUnknown(format!("the acknowledgement is unreadable: {error}"))),
        Ok(Err(error)) => Err(match error.kind() {
            RequestErrorKind::NoResponders => AppendAttempt::Unavailable("no stream stores the subject".to_owned()),
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

/// Appends all entries or none (ADR-50 of the NATS project). After an error the entries may be stored or not.
async fn append_atomically(
    bus: &Bus,
    settings: &JournalSettings,
    watermark: &JournalWatermark,
    entries: &[JournalEntry],
) -> Result<Vec<u64>, String> {
    let floor = watermark.floor().map_err(|error| error.to_string())?;
    let (id, limit) = (uuid::Uuid::new_v4().simple().to_string(), settings.ack_timeout());
    let member_headers = |entry: &JournalEntry, number: usize| {
        let mut map = entry_headers(entry);
        headers::set(&mut map, headers::BATCH_ID, &id);
        headers::set(&mut map, headers::BATCH_SEQUENCE, &number.to_string());
        map
    };
    let (last, others) = entries.split_last().ok_or("the batch is empty")?;
    for (index, entry) in others.iter().enumerate() {
        let (subject, map) = (entry.subject.clone(), member_headers(entry, index + 1));
        let published = bus.client.publish_with_headers(subject, map, entry.body.clone());
        with_timeout(limit, "publishing a batch", published)
            .await
            .map_err(|error| error.to_string())?;
    }
    let mut map = member_headers(last, entries.len());
    headers::set(&mut map, headers::BATCH_COMMIT, "1");
    let ack = match publish_and_await_ack(bus, limit, last, map).await {
        Ok(ack) => ack,
        Err(
            AppendAttempt::Refused(cause) | AppendAttempt::Unavailable(cause) | AppendAttempt::OutcomeUnknown(cause),
        ) => {
            return Err(cause);
        }
        Err(AppendAttempt::Stored(_) | AppendAttempt::Behind(_)) => {
            return Err("the acknowledgement is of another kind".to_owned());
        }
    };
    if let Some(error) = ack.error {
        return Err(error.description);
    }
    let sequences =
        batch_sequences(ack.seq, ack.count, entries.len()).ok_or("the commit stored another number of entries")?;
    let first = sequences.first().copied().unwrap_or_default();
    // If the stream is behind, the single append of each entry returns that error.
    let checked = watermark.record_assigned(floor, first, ack.seq);
    checked.map(|()| sequences).map_err(|error| error.to_string())
}

/// Returns the sequences of a batch: the server reports the last one and stores a batch without a gap. `None` if the
/// batch does not have `members` entries.
fn batch_sequences(last: u64, count: u64, members: usize) -> Option<Vec<u64>> {
    let members = u64::try_from(members).ok()?;
    let first = last.checked_sub(members)?.checked_add(1)?;
    (count == members).then(|| (first..=last).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_a_batch_end_with_its_commit() {
        assert_eq!(batch_sequences(12, 3, 3), Some(vec![10, 11, 12]));
        assert_eq!(batch_sequences(3, 3, 3), Some(vec![1, 2, 3]));
        assert_eq!(batch_sequences(12, 2, 3), None);
        assert_eq!(batch_sequences(2, 3, 3), None);
    }
}
