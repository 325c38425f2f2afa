//! Header names, and how values get in and out of them.

use async_nats::HeaderMap;

use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};

/// Nothing happens for the sender after this moment (RFC 3339).
pub const DEADLINE: &str = "Deadline";
/// Where the answer to a durable intent goes.
pub const REPLY_TO: &str = "Reply-To";
/// Where in the journal an answer stands.
pub const JOURNAL_SEQUENCE: &str = "Journal-Sequence";
/// `true` when the answer repeats an earlier one.
pub const IDEMPOTENT_REPLAY: &str = "Idempotent-Replay";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The HTTP status of an error (the NATS services protocol).
pub const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
/// The text of an error (the NATS services protocol).
pub const SERVICE_ERROR: &str = "Nats-Service-Error";
/// What JetStream tells duplicates by.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The place the newest entry of the subject must have for an append to be taken.
pub const EXPECTED_LAST_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
/// The atomic batch a message belongs to.
pub const BATCH_ID: &str = "Nats-Batch-Id";
/// A message's place in its atomic batch, from 1.
pub const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
/// Ends an atomic batch.
pub const BATCH_COMMIT: &str = "Nats-Batch-Commit";
/// How many entries a pull request that has run out did not bring.
pub const PENDING_MESSAGES: &str = "Nats-Pending-Messages";
/// The subject a dead letter came in by.
pub const DEAD_SUBJECT: &str = "Dead-Subject";
/// How often a dead letter was delivered.
pub const DEAD_DELIVERIES: &str = "Dead-Deliveries";
/// Headers under this prefix speak to the server.
pub const SERVER_PREFIX: &str = "Nats-";

/// Returns the only value of a header, whatever the case its name is written in; an error when there are several.
fn single_value<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Result<Option<&'a str>, RepeatedHeader> {
    let mut found = None;
    for (key, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let key: &str = key.as_ref();
        for value in values.iter().filter(|_| key.eq_ignore_ascii_case(name)) {
            if found.replace(value.as_str()).is_some() {
                return Err(RepeatedHeader);
            }
        }
    }
    Ok(found)
}

struct RepeatedHeader;

/// Returns a header's text; `None` when there is none or more than one.
pub fn single_text<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    single_value(headers, name).ok().flatten()
}

/// Returns the moment after which nothing may happen, if the sender set one.
///
/// # Errors
/// `invalid_field` when the header is no RFC 3339 timestamp or stands there twice: a deadline that is there and not
/// understood must not count as none.
pub fn parse_deadline(headers: Option<&HeaderMap>) -> Result<Option<Timestamp>, Fault> {
    let fault = |rule: &str| Fault::for_field(FaultCode::InvalidField, DEADLINE, rule);
    match single_value(headers, DEADLINE) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => Timestamp::parse(text.trim())
            .map(Some)
            .map_err(|error| fault(&error.to_string())),
        Err(RepeatedHeader) => Err(fault("must be given once")),
    }
}

/// Returns where the answer to a durable intent goes, if the sender wants one.
///
/// # Errors
/// `invalid_field` when the header stands there twice.
pub fn parse_reply_to(headers: Option<&HeaderMap>) -> Result<Option<&str>, Fault> {
    single_value(headers, REPLY_TO)
        .map_err(|RepeatedHeader| Fault::for_field(FaultCode::InvalidField, REPLY_TO, "must be given once"))
}

/// Sets a header to a value made fit for one.
pub fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    headers.insert(name, sanitise(value).as_str());
}

/// Returns a text without control characters: a line break in a value would panic in the client library.
pub fn sanitise(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_there_is_understood_or_refused() {
        assert_eq!(parse_deadline(None).unwrap(), None);
        let mut headers = HeaderMap::new();
        headers.insert("deadline", "2026-03-01T09:00:00Z");
        assert!(parse_deadline(Some(&headers)).unwrap().is_some());
        headers.insert(DEADLINE, "2026-03-01T09:00:00Z");
        assert_eq!(
            parse_deadline(Some(&headers)).unwrap_err().field.as_deref(),
            Some(DEADLINE)
        );
        for text in ["", "soon", "2026-03-01"] {
            let mut headers = HeaderMap::new();
            headers.insert(DEADLINE, text);
            assert_eq!(
                parse_deadline(Some(&headers)).unwrap_err().code,
                FaultCode::InvalidField,
                "{text}"
            );
        }
    }

    #[test]
    fn values_lose_what_would_break_the_protocol() {
        let mut headers = HeaderMap::new();
        set(&mut headers, SERVICE_ERROR, "a\r\nb\tc");
        assert_eq!(single_text(Some(&headers), SERVICE_ERROR), Some("a  b c"));
    }
}
