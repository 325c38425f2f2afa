//! An entry of a stream, and its position in what a consumer delivers.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;

use crate::bus::connection::BusError;
use crate::domain::time::Timestamp;

/// One entry as the stream stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The subject under which it is stored.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// The event's JSON.
    pub body: Bytes,
    /// When the stream stored it.
    pub stored_at: Timestamp,
}

impl From<StreamMessage> for StoredEntry {
    fn from(message: StreamMessage) -> Self {
        Self {
            subject: message.subject.to_string(),
            sequence: message.sequence,
            body: message.payload,
            stored_at: timestamp_from_nanoseconds(message.time.unix_timestamp_nanos()),
        }
    }
}

/// The position of an entry among the deliveries of one consumer.
pub struct DeliveryPosition {
    /// The number of the delivery, from 1.
    pub consumer_sequence: u64,
    /// How many further entries the server has for the consumer.
    pub pending: u64,
}

/// Returns an entry that a consumer delivered, with its position.
///
/// # Errors
/// When the message lacks the reply subject that encodes its position.
pub fn read_delivery(message: &Message) -> Result<(DeliveryPosition, StoredEntry), BusError> {
    let info = message.info().map_err(|error| BusError::Refused(error.to_string()))?;
    let position = DeliveryPosition {
        consumer_sequence: info.consumer_sequence,
        pending: info.pending,
    };
    let entry = StoredEntry {
        subject: message.subject.to_string(),
        sequence: info.stream_sequence,
        body: message.payload.clone(),
        stored_at: timestamp_from_nanoseconds(info.published.unix_timestamp_nanos()),
    };
    Ok((position, entry))
}

/// Returns the time that many nanoseconds after the Unix epoch, rounded down to the microsecond; the epoch for a time
/// before it.
pub fn timestamp_from_nanoseconds(nanoseconds: i128) -> Timestamp {
    let micros = u64::try_from(nanoseconds.div_euclid(1_000)).unwrap_or(0);
    Timestamp::from_milliseconds(0).saturating_add(Duration::from_micros(micros))
}
