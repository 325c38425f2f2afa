//! A request and its reply, whatever carried them.

use std::net::IpAddr;

use serde_json::Value;

use crate::venue::error::VenueError;
use crate::venue::operation::Operation;
use crate::venue::parameters::Parameters;
use crate::venue::rate_limit::OrderCounts;

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The API key.
    pub key: String,
    /// The account that it trades for.
    pub account: String,
    /// Whether the key is an Ed25519 key, which alone may open a session.
    pub is_ed25519: bool,
}

/// A request.
#[derive(Debug)]
pub struct Request {
    /// The operation.
    pub operation: Operation,
    /// Its parameters.
    pub parameters: Parameters,
    /// The address of the client.
    pub address: IpAddr,
    /// The API key that the request carries.
    pub key: Option<String>,
    /// The text that a signature covers.
    pub payload: String,
    /// The session that stands in for a key and a signature.
    pub session: Option<Identity>,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The result, or the error.
    pub result: Result<Value, VenueError>,
    /// The weight that the address has used in this minute.
    pub used_weight: u32,
    /// The unfilled orders of the account, for a placement.
    pub orders: Option<OrderCounts>,
    /// The venue's time of the request, in milliseconds since 1970.
    pub server_time: u64,
    /// Who signed the request, if it was signed.
    pub identity: Option<Identity>,
}

/// What leaves the venue.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An answer.
    Answer(Box<Answer>),
    /// Nothing: the connection is reset.
    Reset,
}
