//! The dead letter: an intent the durable door could not take, with everything needed to look into it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;
use crate::wire::problem::Problem;
use crate::wire::schema_patterns::UtcTimestamp;

/// What stands in the stream of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// The subject it came in by.
    pub subject: String,
    /// Its headers; none when the body is cut.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Its body, or the beginning of it.
    pub body: String,
    /// How the body is written here.
    pub body_encoding: BodyEncoding,
    /// How many bytes the body had, when only its beginning is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_from: Option<u64>,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Its place in the work queue.
    pub stream_sequence: u64,
    /// When the work queue took it.
    #[schemars(with = "UtcTimestamp")]
    pub published_at: Timestamp,
    /// Why it is dead: what its sender was told.
    pub problem: Problem,
}

/// How a dead letter's body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BodyEncoding {
    /// As it came.
    #[serde(rename = "utf-8")]
    Utf8,
    /// In base64 (RFC 4648, with padding), where it was not UTF-8.
    #[serde(rename = "base64")]
    Base64,
}
