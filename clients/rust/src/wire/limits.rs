//! The limits in force on the bus: their journal event, and the request to change them.
//!
//! The document of the limits has the sections `risk`, `instruments` and `accounts` of the settings. A large one travels
//! compressed, so that ten thousand instruments fit into one message.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::hex;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::wire::field_checks::{MAX_OPERATOR_TEXT_CHARACTERS, parse_operator_text};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::UtcTimestamp;
use crate::wire::strict_object::StrictObject;

/// The most changes that an event names; `change_count` counts all.
pub const MAX_NAMED_CHANGES: usize = 64;
/// The size of a document, in bytes, from which it travels compressed.
const MAX_PLAIN_BYTES: usize = 262_144;
/// The most bytes of a document that travels compressed.
pub const MAX_DOCUMENT_BYTES: u64 = 16_777_216;
/// The most bytes of an event or request: below the largest message of a NATS server with its defaults.
pub const MAX_MESSAGE_BYTES: usize = 1_000_000;

/// The sections of the settings that decide what is enforced, numbers without trailing zeros, lists in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsDocument {
    /// The section `[risk]`.
    pub risk: BTreeMap<String, Value>,
    /// The instruments, in the order of venue and symbol.
    pub instruments: Vec<BTreeMap<String, Value>>,
    /// The accounts with limits of their own, in the order of their names.
    pub accounts: Vec<BTreeMap<String, Value>>,
}

/// Limits in one of their two forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackedLimits {
    /// The document; absent where it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LimitsDocument")]
    pub limits: Option<LimitsDocument>,
    /// The JSON of a large document, compressed with gzip, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub limits_gzip: Option<String>,
}

/// A limit that a change sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitChange {
    /// Its name, such as `risk.daily_loss_limit`, `instruments.ibkr.paper:AAPL.max_position` or
    /// `accounts.fund_7.stop_loss`.
    pub name: String,
    /// The value before; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub before: Option<String>,
    /// The value after; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub after: Option<String>,
}

/// The limits in force from here on (`orders.events.limits._`), for all workers. The last event counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsEvent {
    /// The number of the change, from 1.
    pub version: u64,
    /// The SHA-256 hash of the document's JSON, in hex.
    pub hash: String,
    /// The whole document, not only what changed.
    #[serde(flatten)]
    pub packed: PackedLimits,
    /// What changed, at most 64 limits; empty in the first event.
    pub changes: Vec<LimitChange>,
    /// How many limits changed.
    pub change_count: u64,
    /// The person or system that made the change; of the first event, the worker that found no limits on the journal.
    pub actor: String,
    /// The reason.
    pub reason: String,
    /// When the change was made.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// The limits in force, over REST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsInForce {
    /// The number of the change that put them in force, from 1.
    pub version: u64,
    /// The limits, by the names of the settings; of the sections of single accounts, those that the caller may see.
    pub limits: LimitsDocument,
    /// The person or system that made the change; of the first one, the worker that found no limits on the journal.
    pub actor: String,
    /// The reason for the change.
    pub reason: String,
    /// When the change was made.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// A change of the limits: the whole document, the limits that it was compared with, the actor and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LimitsChangeRequest {
    /// The new limits.
    #[serde(flatten)]
    pub packed: PackedLimits,
    /// The hash of the limits in force that the change was compared with. With others in force it is refused.
    pub base_hash: String,
    /// The person or system that changes the limits, 1-256 characters without control characters.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: String,
    /// The reason for the change, 1-256 characters without control characters.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: String,
}

/// Why limits cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackedLimitsError {
    /// They have no JSON, or other JSON.
    #[error("the limits are not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// They cannot be compressed or decompressed.
    #[error("the limits cannot be compressed or decompressed: {0}")]
    Compression(#[from] std::io::Error),
    /// They are in neither form, or in both.
    #[error("exactly one of `limits` and `limits_gzip` must be given")]
    Form,
    /// They are too large.
    #[error("the limits have more than {MAX_DOCUMENT_BYTES} bytes of JSON")]
    TooLarge,
}

impl PackedLimits {
    /// Packs the JSON of limits.
    ///
    /// # Errors
    /// When it is no JSON of limits, or too large.
    pub fn pack(json: &[u8]) -> Result<Self, PackedLimitsError> {
        if json.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(PackedLimitsError::TooLarge);
        }
        if json.len() <= MAX_PLAIN_BYTES {
            let limits = Some(serde_json::from_slice(json)?);
            let limits_gzip = None;
            return Ok(Self { limits, limits_gzip });
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(json)?;
        Ok(Self {
            limits: None,
            limits_gzip: Some(hex::encode(&encoder.finish()?)),
        })
    }

    /// Returns the JSON of the limits.
    ///
    /// # Errors
    /// When they are in neither form or in both, or cannot be decompressed.
    pub fn unpack(&self) -> Result<Vec<u8>, PackedLimitsError> {
        match (&self.limits, &self.limits_gzip) {
            (Some(limits), None) => Ok(serde_json::to_vec(limits)?),
            (None, Some(text)) => {
                let compressed = hex::decode(text).ok_or(PackedLimitsError::Form)?;
                let mut json = Vec::new();
                // The bound keeps a small message from filling the memory.
                let mut decoder = GzDecoder::new(compressed.as_slice()).take(MAX_DOCUMENT_BYTES + 1);
                decoder.read_to_end(&mut json)?;
                if json.len() as u64 > MAX_DOCUMENT_BYTES {
                    return Err(PackedLimitsError::TooLarge);
                }
                Ok(json)
            }
            _ => Err(PackedLimitsError::Form),
        }
    }
}

impl LimitsChangeRequest {
    /// Decodes a request.
    ///
    /// # Errors
    /// `malformed`, `invalid_field` or `unknown_field`.
    pub fn decode(body: &[u8]) -> Result<Self, Fault> {
        let mut object = StrictObject::from_body(body)?;
        let packed = PackedLimits {
            limits: object.optional("limits", "must be an object with risk, instruments and accounts")?,
            limits_gzip: object.optional("limits_gzip", "must be a string")?,
        };
        let text = |text: &str| Ok::<_, String>(text.to_owned());
        let base_hash = object.required_text("base_hash", text)?;
        let actor = object.required_text("actor", parse_operator_text)?;
        let reason = object.required_text("reason", parse_operator_text)?;
        object.reject_unknown()?;
        Ok(Self {
            packed,
            base_hash,
            actor,
            reason,
        })
    }

    /// Checks that an actor and a reason can be recorded.
    ///
    /// # Errors
    /// `invalid_field`, with the name of the field.
    pub fn check_audit(actor: &str, reason: &str) -> Result<(), Fault> {
        for (field, text) in [("actor", actor), ("reason", reason)] {
            parse_operator_text(text).map_err(|rule| Fault::for_field(FaultCode::InvalidField, field, rule))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_limits_stay_readable_and_large_ones_fit_a_message() {
        let small = br#"{"risk":{"a":1},"instruments":[],"accounts":[]}"#;
        let packed = PackedLimits::pack(small).unwrap();
        assert!(packed.limits.is_some() && packed.limits_gzip.is_none());
        let read: Value = serde_json::from_slice(&packed.unpack().unwrap()).unwrap();
        assert_eq!(read["risk"]["a"], 1);
        let instrument = |n: usize| format!(r#"{{"symbol":"S{n}","max_position":"{}"}}"#, n * 7);
        let many: Vec<String> = (0..10_000).map(instrument).collect();
        let large = format!(r#"{{"risk":{{}},"instruments":[{}],"accounts":[]}}"#, many.join(","));
        let packed = PackedLimits::pack(large.as_bytes()).unwrap();
        assert!(packed.limits.is_none());
        assert!(packed.limits_gzip.as_ref().unwrap().len() < MAX_MESSAGE_BYTES / 2);
        assert_eq!(packed.unpack().unwrap(), large.as_bytes());
    }

    #[test]
    fn limits_in_no_form_or_in_both_are_refused() {
        let neither = PackedLimits {
            limits: None,
            limits_gzip: None,
        };
        assert!(matches!(neither.unpack(), Err(PackedLimitsError::Form)));
        let refused = LimitsChangeRequest::decode(br#"{"base_hash":"a","actor":"b","reason":"c","colour":1}"#);
        assert_eq!(refused.unwrap_err().code, FaultCode::UnknownField);
        // A few bytes that decompress beyond the bound.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let block = vec![b' '; 1_048_576];
        (0..17).for_each(|_| encoder.write_all(&block).unwrap());
        let bomb = PackedLimits {
            limits: None,
            limits_gzip: Some(hex::encode(&encoder.finish().unwrap())),
        };
        assert!(matches!(bomb.unpack(), Err(PackedLimitsError::TooLarge)));
    }
}
