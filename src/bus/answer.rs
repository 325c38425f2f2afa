//! Answers and faults as messages, in both directions.

use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;

use super::call::Answer;
use super::headers;
use crate::fault::{Code, Fault};
use crate::wire::problem::{self, Problem};

/// Returns the message that tells of an answer or a fault.
pub(super) fn message(result: &Result<Answer, Fault>) -> (HeaderMap, Bytes) {
    let mut map = HeaderMap::new();
    match result {
        Ok(answer) => {
            if let Some(sequence) = answer.journal_sequence {
                headers::set(&mut map, headers::JOURNAL_SEQUENCE, &sequence.to_string());
            }
            if answer.replayed {
                headers::set(&mut map, headers::IDEMPOTENT_REPLAY, "true");
            }
            (map, Bytes::copy_from_slice(&answer.body))
        }
        Err(fault) => {
            headers::set(&mut map, headers::SERVICE_ERROR_CODE, &fault.code.status().to_string());
            headers::set(&mut map, headers::SERVICE_ERROR, &fault.to_string());
            if let Some(sequence) = fault.journal_sequence {
                headers::set(&mut map, headers::JOURNAL_SEQUENCE, &sequence.to_string());
            }
            (map, Bytes::from(problem::encode(fault)))
        }
    }
}

/// Returns the answer or the fault that a received message tells of.
pub(super) fn read(message: async_nats::Message) -> Result<Answer, Fault> {
    let map = message.headers.as_ref();
    if let Some(status) = headers::text(map, headers::SERVICE_ERROR_CODE) {
        let mut fault = fault(status, headers::text(map, headers::SERVICE_ERROR), &message.payload);
        fault.journal_sequence = journal_sequence(map);
        return Err(fault);
    }
    if message.status.is_some_and(|status| status != StatusCode::OK) {
        return Err(Fault::new(
            Code::BusUnavailable,
            "the bus answered in the place of a worker",
        ));
    }
    Ok(Answer {
        journal_sequence: journal_sequence(map),
        replayed: headers::text(map, headers::IDEMPOTENT_REPLAY) == Some("true"),
        body: message.payload.to_vec(),
    })
}

fn journal_sequence(map: Option<&HeaderMap>) -> Option<u64> {
    headers::text(map, headers::JOURNAL_SEQUENCE)?.parse().ok()
}

fn fault(status: &str, text: Option<&str>, body: &[u8]) -> Fault {
    let problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        kind: String::new(),
        title: String::new(),
        // A status nobody can read counts as a refusal of the request: it does not invite a retry.
        status: status.trim().parse().unwrap_or(400),
        detail: text
            .unwrap_or("the worker told an error without a problem document")
            .to_owned(),
        code: String::new(),
        field: None,
        rule_id: None,
        metadata: crate::domain::metadata::Metadata::new(),
        client_order_id: None,
    });
    problem.into_fault()
}
