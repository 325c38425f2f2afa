//! Replies and faults as messages, in both directions.

use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;

use crate::bus::headers;
use crate::bus::reply::BusReply;
use crate::domain::metadata::Metadata;
use crate::fault::{Fault, FaultCode};
use crate::wire::problem::{self, Problem};

/// The status of a fault whose status header is unreadable: a refusal of the request, which does not invite a retry.
const UNREADABLE_STATUS: u16 = 400;

/// Returns headers and payload of the message that carries a reply or a fault.
pub fn encode_reply(result: &Result<BusReply, Fault>) -> (HeaderMap, Bytes) {
    let mut map = HeaderMap::new();
    match result {
        Ok(reply) => {
            if let Some(sequence) = reply.journal_sequence {
                headers::set(&mut map, headers::JOURNAL_SEQUENCE, &sequence.to_string());
            }
            if reply.is_replay {
                headers::set(&mut map, headers::IDEMPOTENT_REPLAY, "true");
            }
            (map, Bytes::copy_from_slice(&reply.body))
        }
        Err(fault) => {
            headers::set(&mut map, headers::SERVICE_ERROR_CODE, &fault.code.status().to_string());
            headers::set(&mut map, headers::SERVICE_ERROR, &fault.to_string());
            if let Some(sequence) = fault.journal_sequence {
                headers::set(&mut map, headers::JOURNAL_SEQUENCE, &sequence.to_string());
            }
            (map, Bytes::from(problem::encode_problem(fault)))
        }
    }
}

/// Returns the reply that a received message carries, or its fault.
pub fn decode_reply(message: async_nats::Message) -> Result<BusReply, Fault> {
    let map = message.headers.as_ref();
    if let Some(status) = headers::single_text(map, headers::SERVICE_ERROR_CODE) {
        let text = headers::single_text(map, headers::SERVICE_ERROR);
        let mut fault = decode_fault(status, text, &message.payload);
        fault.journal_sequence = parse_journal_sequence(map);
        return Err(fault);
    }
    if message.status.is_some_and(|status| status != StatusCode::OK) {
        return Err(Fault::new(
            FaultCode::BusUnavailable,
            "the NATS server replied instead of a worker",
        ));
    }
    Ok(BusReply {
        journal_sequence: parse_journal_sequence(map),
        is_replay: headers::single_text(map, headers::IDEMPOTENT_REPLAY) == Some("true"),
        body: message.payload.to_vec(),
    })
}

fn parse_journal_sequence(map: Option<&HeaderMap>) -> Option<u64> {
    headers::single_text(map, headers::JOURNAL_SEQUENCE)?.parse().ok()
}

fn decode_fault(status: &str, text: Option<&str>, body: &[u8]) -> Fault {
    let problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        kind: String::new(),
        title: String::new(),
        status: status.trim().parse().unwrap_or(UNREADABLE_STATUS),
        detail: text
            .unwrap_or("the worker replied with an error without a problem document")
            .to_owned(),
        code: String::new(),
        field: None,
        rule_id: None,
        metadata: Metadata::new(),
        client_order_id: None,
    });
    problem.into_fault()
}
