//! A reply with its document.

use std::ops::Deref;

use serde::de::DeserializeOwned;

use crate::bus::reply::BusReply;
use crate::client::error::CallError;

/// The document of a reply, and the reply that it was decoded from. The fields of the document are those of the reply:
/// `reply.status` is `reply.document.status`.
///
/// ```
/// use order_router_client::TypedReply;
/// use order_router_client::bus::reply::BusReply;
/// use order_router_client::wire::brokers::BrokerList;
///
/// let reply = BusReply {
///     body: br#"{"brokers":["binance"],"details":[]}"#.to_vec(),
///     journal_sequence: None,
///     is_replay: false,
/// };
/// let list: TypedReply<BrokerList> = TypedReply::decode(reply)?;
/// assert_eq!(list.brokers, ["binance"]);
/// # Ok::<(), order_router_client::CallError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedReply<T> {
    /// The document.
    pub document: T,
    /// The reply: its bytes, its sequence on the journal, and whether it repeats an earlier one.
    pub reply: BusReply,
}

impl<T: DeserializeOwned> TypedReply<T> {
    /// Decodes a reply.
    ///
    /// # Errors
    /// [`CallError::Undecodable`].
    pub fn decode(reply: BusReply) -> Result<Self, CallError> {
        let document =
            serde_json::from_slice(&reply.body).map_err(|error| CallError::Undecodable(error.to_string()))?;
        Ok(Self { document, reply })
    }
}

impl<T> Deref for TypedReply<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.document
    }
}
