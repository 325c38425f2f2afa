//! Heartbeats on the bus: the request, its reply, and the journal's event of a dead man's switch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::wire::field_checks::{MAX_OPERATOR_TEXT_CHARACTERS, parse_operator_text};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::UtcTimestamp;
use crate::wire::strict_object::StrictObject;

/// The shortest time of a dead man's switch, in milliseconds.
pub const MIN_HEARTBEAT_TIMEOUT_MS: u64 = 1_000;
/// The longest time of a dead man's switch, in milliseconds: a day.
pub const MAX_HEARTBEAT_TIMEOUT_MS: u64 = 86_400_000;

/// A heartbeat of an account. The first one arms the account's dead man's switch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = time_or_reason()))]
pub struct HeartbeatRequest {
    /// The time without a heartbeat after which the account's open orders are cancelled and its openings locked, in
    /// milliseconds, 1000 to 86400000. 0 disarms the switch.
    #[schemars(range(max = MAX_HEARTBEAT_TIMEOUT_MS))]
    pub timeout_ms: u64,
    /// The person or system that arms or disarms the switch, 1-256 characters without control characters. Without it, the
    /// account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: Option<String>,
    /// The reason for the change, 1-256 characters without control characters. Required to disarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: Option<String>,
}

/// A heartbeat of an account over REST. The path names the account, and the sidecar adds the actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = time_or_reason()))]
pub struct HeartbeatBody {
    /// The time without a heartbeat after which the account's open orders are cancelled and its openings locked, in
    /// milliseconds, 1000 to 86400000. 0 disarms the switch.
    #[schemars(range(max = MAX_HEARTBEAT_TIMEOUT_MS))]
    pub timeout_ms: u64,
    /// The reason for the change, 1-256 characters without control characters. Required to disarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: Option<String>,
}

/// Returns the schema's rule that a heartbeat has a time within its range, or disarms the switch and has a reason.
fn time_or_reason() -> serde_json::Value {
    json!([
        {"properties": {"timeout_ms": {"minimum": MIN_HEARTBEAT_TIMEOUT_MS}}},
        {"properties": {"timeout_ms": {"const": 0}, "reason": {"type": "string"}}, "required": ["reason"]},
    ])
}

/// The state of a dead man's switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SwitchState {
    /// It fires unless another heartbeat arrives in time.
    Armed,
    /// The account has no switch.
    Disarmed,
    /// It has fired: the account's openings are locked, and its open orders are being cancelled. Heartbeats do not count
    /// until no order is open; the next one then arms the switch again.
    Fired,
}

/// The state of an account's dead man's switch after a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatAnswer {
    /// The account, 1-64 characters of `[A-Za-z0-9_-]`, not `_` alone.
    #[schemars(regex(pattern = schema_patterns::ACCOUNT))]
    pub account_id: String,
    /// The state of the switch.
    pub state: SwitchState,
    /// The time of an armed switch, in milliseconds; otherwise null.
    pub timeout_ms: Option<u64>,
    /// When an armed switch fires without another heartbeat, by Redis' clock; otherwise null.
    #[schemars(with = "Option<UtcTimestamp>")]
    pub expires_at: Option<Timestamp>,
    /// The id of the lock that the switch has set when it fired, until a person lifts it; otherwise null. The account then
    /// only reduces positions, whatever the state of the switch. As this worker knows it, up to a second late.
    pub latch_id: Option<String>,
}

/// The change of a dead man's switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SwitchChange {
    /// It was armed, or its time was changed.
    Armed,
    /// It was disarmed.
    Disarmed,
    /// It has fired: the account was locked, and no order of it is open any more.
    Fired,
}

/// A dead man's switch was armed or disarmed, or has fired (`orders.events.heartbeat.{account}`). The last event of an
/// account counts. Heartbeats that change nothing are not journaled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatEvent {
    /// The change: `armed`, `disarmed` or `fired`.
    pub event: SwitchChange,
    /// The account, 1-64 characters of `[A-Za-z0-9_-]`, not `_` alone.
    #[schemars(regex(pattern = schema_patterns::ACCOUNT))]
    pub account_id: String,
    /// The time without a heartbeat after which the switch fires or has fired, in milliseconds; null for `disarmed`.
    pub timeout_ms: Option<u64>,
    /// The person or system that changed the switch; `order-router` for `fired`.
    pub actor: String,
    /// The reason for the change.
    pub reason: String,
    /// When it was changed.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// A checked heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    /// Arms the switch with this time, or starts its time again.
    Arm {
        /// The time, in milliseconds.
        timeout_ms: u64,
        /// Who arms it, if it is not the account.
        actor: Option<String>,
        /// The reason, if there is one.
        reason: Option<String>,
    },
    /// Disarms the switch.
    Disarm {
        /// Who disarms it, if it is not the account.
        actor: Option<String>,
        /// The reason.
        reason: String,
    },
}

/// Decodes a [`HeartbeatRequest`].
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_heartbeat(body: &[u8]) -> Result<Heartbeat, Fault> {
    let rule = || format!("must be 0, or {MIN_HEARTBEAT_TIMEOUT_MS} to {MAX_HEARTBEAT_TIMEOUT_MS} whole milliseconds");
    let mut object = StrictObject::from_body(body)?;
    let timeout_ms = object
        .optional::<u64>("timeout_ms", &rule())?
        .ok_or_else(|| object.invalid_field("timeout_ms", "is required"))?;
    if timeout_ms != 0 && !(MIN_HEARTBEAT_TIMEOUT_MS..=MAX_HEARTBEAT_TIMEOUT_MS).contains(&timeout_ms) {
        return Err(object.invalid_field("timeout_ms", rule()));
    }
    let actor = object.optional_text("actor", parse_operator_text)?;
    let reason = object.optional_text("reason", parse_operator_text)?;
    let heartbeat = match (timeout_ms, reason) {
        (0, None) => return Err(object.invalid_field("reason", "is required to disarm the switch")),
        (0, Some(reason)) => Heartbeat::Disarm { actor, reason },
        (timeout_ms, reason) => Heartbeat::Arm {
            timeout_ms,
            actor,
            reason,
        },
    };
    object.reject_unknown()?;
    Ok(heartbeat)
}

impl HeartbeatEvent {
    /// Returns the account and, where the event arms its switch, the time in milliseconds; `None` where the event is not valid.
    pub fn armed_account(&self) -> Option<(AccountId, Option<u64>)> {
        let account_id = AccountId::new(&self.account_id).ok()?;
        match self.event {
            SwitchChange::Armed => Some((account_id, Some(self.timeout_ms?))),
            SwitchChange::Disarmed | SwitchChange::Fired => Some((account_id, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeat_has_a_time_within_its_range_and_a_reason_to_disarm() {
        for (body, expected) in [
            (r#"{"timeout_ms":1000}"#, Ok(1_000)),
            (r#"{"timeout_ms":86400000,"actor":"a","reason":"r"}"#, Ok(86_400_000)),
            (r#"{"timeout_ms":0,"reason":"done"}"#, Ok(0)),
            (r#"{"timeout_ms":0}"#, Err("reason")),
            (r#"{"timeout_ms":999}"#, Err("timeout_ms")),
            (r#"{"timeout_ms":86400001}"#, Err("timeout_ms")),
            (r#"{"timeout_ms":-1}"#, Err("timeout_ms")),
            (r#"{"timeout_ms":1000.5}"#, Err("timeout_ms")),
            (r#"{"timeout_ms":"1000"}"#, Err("timeout_ms")),
            (r#"{"timeout_ms":null}"#, Err("timeout_ms")),
            ("{}", Err("timeout_ms")),
            (r#"{"timeout_ms":1000,"actor":""}"#, Err("actor")),
            (r#"{"timeout_ms":1000,"account_id":"a"}"#, Err("account_id")),
        ] {
            let decoded = decode_heartbeat(body.as_bytes());
            let timeout_ms = decoded.map(|heartbeat| match heartbeat {
                Heartbeat::Arm { timeout_ms, .. } => timeout_ms,
                Heartbeat::Disarm { .. } => 0,
            });
            let found = timeout_ms.map_err(|fault| fault.field.unwrap_or_default());
            assert_eq!(found, expected.map_err(str::to_owned), "{body}");
        }
    }
}
