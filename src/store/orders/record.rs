//! What an order record holds, as several scripts return it.

use bytes::Bytes;

use crate::domain::content_hash::ContentDigest;
use crate::domain::id::OrderId;
use crate::domain::venue_report::OutboxEntry;
use crate::store::error::StoreError;
use crate::store::script::ScriptReply;

/// What is known of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOrder {
    /// The stage of its order.
    pub stage: RecordStage,
    /// What the order's content is recognised by.
    pub content: ContentDigest,
    /// The router's id of the order.
    pub order_id: OrderId,
    /// The order's version.
    pub version: u32,
    /// The highest version known to be journaled.
    pub journaled_version: u32,
    /// The journal sequence of that version; 0 while none is journaled.
    pub journal_sequence: u64,
}

/// The stage of an order record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordStage {
    /// Claimed by a worker; nothing has been sent.
    Claimed,
    /// Being sent to an external venue: it may have been sent, and no report of it exists yet.
    Sending,
    /// Released without having been sent; the release is not known to be journaled yet.
    Releasing,
    /// Released without having been sent: the same order may be claimed again under its own id.
    Released,
    /// At its venue.
    Open,
    /// Ended.
    Ended,
    /// Denied by a risk rule.
    Denied,
}

impl RecordStage {
    /// Reports whether the order is in flight, without any report yet.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Claimed | Self::Sending | Self::Releasing)
    }

    pub(in crate::store) fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "claimed" => Ok(Self::Claimed),
            "sending" => Ok(Self::Sending),
            "releasing" => Ok(Self::Releasing),
            "released" => Ok(Self::Released),
            "open" => Ok(Self::Open),
            "ended" => Ok(Self::Ended),
            "denied" => Ok(Self::Denied),
            other => Err(StoreError::corrupt(format!("{other:?} is not a stage of an order"))),
        }
    }

    pub(in crate::store) fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Sending => "sending",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::Open => "open",
            Self::Ended => "ended",
            Self::Denied => "denied",
        }
    }
}

/// Decodes stage, content, order id, version, journaled version and journal sequence.
pub(in crate::store) fn decode_known_order(reply: &mut ScriptReply) -> Result<KnownOrder, StoreError> {
    Ok(KnownOrder {
        stage: RecordStage::parse(&reply.next_text()?)?,
        content: reply
            .next_bytes()?
            .try_into()
            .map(ContentDigest)
            .map_err(|_| StoreError::corrupt("an order's content is not of 12 bytes"))?,
        order_id: OrderId::new(&reply.next_text()?)
            .map_err(|rule| StoreError::corrupt(format!("an order id {rule}")))?,
        version: reply.next_integer()?,
        journaled_version: reply.next_integer()?,
        journal_sequence: reply.next_integer()?,
    })
}

/// Decodes the rest of a reply: version and document of each event that is not journaled.
pub(in crate::store) fn decode_pending_events(reply: &mut ScriptReply) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut pending = Vec::new();
    while reply.has_more() {
        pending.push(OutboxEntry {
            version: reply.next_integer()?,
            body: Bytes::from(reply.next_bytes()?),
            settlement_id: None,
        });
    }
    Ok(pending)
}
