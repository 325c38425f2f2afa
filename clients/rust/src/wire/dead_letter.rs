//! The `DeadLetter`: an intent that the durable door could not accept.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;
use crate::wire::problem::Problem;
use crate::wire::schema_patterns::UtcTimestamp;

/// An intent that the durable door could not accept, as it was delivered, and the problem that its sender received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// The subject that the intent was published on.
    pub subject: String,
    /// The intent's headers, each with its values; empty if the body is truncated.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The intent's body, or the beginning of a body that is too large to keep.
    pub body: String,
    /// How `body` is encoded.
    pub body_encoding: BodyEncoding,
    /// The size of the whole body, in bytes. Present only if the body is truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_from: Option<u64>,
    /// The number of deliveries of the intent, at least 1.
    pub deliveries: u64,
    /// The intent's sequence in the stream `ORDER_INTENTS`.
    pub stream_sequence: u64,
    /// When the stream `ORDER_INTENTS` stored the intent.
    #[schemars(with = "UtcTimestamp")]
    pub published_at: Timestamp,
    /// The problem that the sender received: why the intent is dead.
    pub problem: Problem,
}

/// The encoding of a dead letter's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BodyEncoding {
    /// The body as it was delivered.
    #[serde(rename = "utf-8")]
    Utf8,
    /// The body in base64 (RFC 4648, with padding), because it was not UTF-8.
    #[serde(rename = "base64")]
    Base64,
}
