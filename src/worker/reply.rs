//! JSON documents and the replies that carry them.

use crate::bus::request::BusReply;
use crate::fault::{Fault, FaultCode};

/// Returns a document's JSON.
///
/// # Errors
/// Never for the documents of this crate, whose JSON holds strings and exact numbers only.
pub(in crate::worker) fn encode_json<T: serde::Serialize>(document: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(document).map_err(|error| Fault::new(FaultCode::PersistenceFailed, error.to_string()))
}

/// Returns a reply that carries a document and no journal sequence.
///
/// # Errors
/// As [`encode_json`].
pub(in crate::worker) fn encode_reply<T: serde::Serialize>(document: &T) -> Result<BusReply, Fault> {
    Ok(BusReply {
        body: encode_json(document)?,
        journal_sequence: None,
        is_replay: false,
    })
}
