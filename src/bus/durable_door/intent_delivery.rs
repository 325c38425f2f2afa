//! One delivery of an intent from the work queue.

use async_nats::{Message, jetstream};

use crate::bus::headers;
use crate::bus::request::{BusRequest, Endpoint};
use crate::bus::stream_entry::timestamp_from_nanoseconds;
use crate::bus::subjects;
use crate::domain::time::Timestamp;
use crate::fault::Fault;

/// An intent as the server delivered it.
pub(in crate::bus) struct IntentDelivery {
    /// The message with the intent.
    pub(in crate::bus) message: Message,
    /// The subject for acknowledgements.
    pub(super) ack_subject: String,
    /// The number of deliveries, this one included.
    pub(in crate::bus) deliveries: u64,
    /// The intent's sequence in the work queue.
    pub(in crate::bus) stream_sequence: u64,
    /// When the stream stored it.
    pub(in crate::bus) published_at: Timestamp,
}

impl IntentDelivery {
    /// Returns the delivery, or `None` for a message that came from no stream.
    pub(in crate::bus) fn from_message(message: jetstream::Message) -> Option<Self> {
        let info = match message.info() {
            Ok(info) => info,
            Err(error) => {
                tracing::error!(%error, "the work queue delivered a message without delivery metadata; it is ignored");
                return None;
            }
        };
        let (deliveries, stream_sequence) = (u64::try_from(info.delivered).unwrap_or(0), info.stream_sequence);
        let published_at = timestamp_from_nanoseconds(info.published.unix_timestamp_nanos());
        let ack_subject = message.reply.as_ref()?.to_string();
        Some(Self {
            message: message.message,
            ack_subject,
            deliveries,
            stream_sequence,
            published_at,
        })
    }

    /// Returns the subject for the reply, if the sender wants one.
    pub(super) fn parse_reply_to(&self) -> Result<Option<String>, Fault> {
        let account = subjects::parse_broker_and_account(&self.message.subject).map(|(_, account)| account);
        let reply_to = headers::parse_reply_to(self.message.headers.as_ref(), account)?;
        Ok(reply_to.map(str::to_owned))
    }

    /// Returns the submission that the message asks for.
    pub(super) fn to_request(&self) -> Result<BusRequest, Fault> {
        BusRequest::from_message(&self.message, Endpoint::Submit, self.published_at, true)
    }
}
