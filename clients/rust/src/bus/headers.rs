//! Header names, and reading and writing their values.

use async_nats::HeaderMap;

use crate::bus::subjects;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};

/// The time after which the request has no effect (RFC 3339).
pub const DEADLINE: &str = "Deadline";
/// The subject for the reply to a durable intent.
pub const REPLY_TO: &str = "Reply-To";
/// The journal sequence of the report that a reply carries.
pub const JOURNAL_SEQUENCE: &str = "Journal-Sequence";
/// `true` when the reply repeats an earlier one.
pub const IDEMPOTENT_REPLAY: &str = "Idempotent-Replay";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The HTTP status of an error (the NATS services protocol).
pub const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
/// The text of an error (the NATS services protocol).
pub const SERVICE_ERROR: &str = "Nats-Service-Error";
/// The id by which JetStream recognises duplicates.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The sequence that the newest entry of the subject must have; otherwise JetStream refuses the append.
pub const EXPECTED_LAST_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
/// The stream that has to store the message; otherwise JetStream refuses it.
pub const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
/// The id of a message's atomic batch.
pub const BATCH_ID: &str = "Nats-Batch-Id";
/// The number of a message in its atomic batch, from 1.
pub const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
/// Commits an atomic batch.
pub const BATCH_COMMIT: &str = "Nats-Batch-Commit";
/// The sequence that the stream's newest message must have; otherwise JetStream refuses the publication.
pub const EXPECTED_LAST_SEQUENCE: &str = "Nats-Expected-Last-Sequence";
/// What a segment of the journal's archive holds, as JSON.
pub const ARCHIVE_MANIFEST: &str = "Archive-Manifest";
/// The SHA-256 of a message of a snapshot, in hex.
pub const SNAPSHOT_CHECKSUM: &str = "Snapshot-SHA256";
/// How many messages an expired pull request did not deliver.
pub const PENDING_MESSAGES: &str = "Nats-Pending-Messages";
/// The subject on which a dead letter was received.
pub const DEAD_SUBJECT: &str = "Dead-Subject";
/// How often a dead letter was delivered.
pub const DEAD_DELIVERIES: &str = "Dead-Deliveries";
/// The prefix of headers that the server interprets.
pub const SERVER_PREFIX: &str = "Nats-";

/// Returns the only value of a header, whose name is compared without case.
///
/// # Errors
/// When the header has several values.
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

/// Returns the value of a header; `None` when it is missing or repeated.
pub fn single_text<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    single_value(headers, name).ok().flatten()
}

/// Returns the deadline, if the sender set one.
///
/// # Errors
/// `invalid_field` when the header is no RFC 3339 timestamp or is repeated: an unreadable deadline must not count as
/// none.
pub fn parse_deadline(headers: Option<&HeaderMap>) -> Result<Option<Timestamp>, Fault> {
    let fault = |rule: &str| Fault::for_field(FaultCode::InvalidField, DEADLINE, rule);
    match single_value(headers, DEADLINE) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => Timestamp::parse(text.trim())
            .map(Some)
            .map_err(|error| fault(&error.to_string())),
        Err(RepeatedHeader) => Err(fault("must not be repeated")),
    }
}

/// Returns the subject for the reply to a durable intent, if the sender wants one.
///
/// # Errors
/// `invalid_field` when the header is repeated, or its subject is not allowed for the account.
pub fn parse_reply_to<'a>(headers: Option<&'a HeaderMap>, account: Option<&str>) -> Result<Option<&'a str>, Fault> {
    let reply_to = single_value(headers, REPLY_TO)
        .map_err(|RepeatedHeader| Fault::for_field(FaultCode::InvalidField, REPLY_TO, "must not be repeated"))?;
    if let Some(reply_to) = reply_to {
        check_reply_to(reply_to, account)?;
    }
    Ok(reply_to)
}

/// Checks that the reply to an account's intent may be published on a subject (see [`subjects::is_allowed_reply`]).
///
/// # Errors
/// `invalid_field` when it may not.
pub fn check_reply_to(reply_to: &str, account: Option<&str>) -> Result<(), Fault> {
    if subjects::is_allowed_reply(reply_to, account) {
        return Ok(());
    }
    let rule = "must be below _INBOX or the account's own orders.replies, without wildcards";
    Err(Fault::for_field(FaultCode::InvalidField, REPLY_TO, rule))
}

/// Sets a header to a value, with control characters replaced.
pub fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    headers.insert(name, sanitise(value).as_str());
}

/// Returns the text with each control character replaced by a space: a line break in a value makes the client library
/// panic.
pub fn sanitise(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn present_deadline_is_parsed_or_refused() {
        assert_eq!(parse_deadline(None).unwrap(), None);
        let mut headers = HeaderMap::new();
        headers.insert("deadline", "2026-03-01T09:00:00Z");
        assert!(parse_deadline(Some(&headers)).unwrap().is_some());
        headers.insert(DEADLINE, "2026-03-01T09:00:00Z");
        assert_eq!(
            parse_deadline(Some(&headers)).unwrap_err().field.as_deref(),
            Some(DEADLINE)
        );
        for text in [
            "",
            "soon",
            "2026-03-01",
            "20260301T090000Z",
            "2026-03-01T09:00:00Z[America/New_York]",
        ] {
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
    fn set_replaces_control_characters() {
        let mut headers = HeaderMap::new();
        set(&mut headers, SERVICE_ERROR, "a\r\nb\tc");
        assert_eq!(single_text(Some(&headers), SERVICE_ERROR), Some("a  b c"));
    }
}
