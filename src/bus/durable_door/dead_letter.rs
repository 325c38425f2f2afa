//! Dead letters: intents that the durable door could not process, stored with everything needed to investigate them.

use std::collections::BTreeMap;

use async_nats::{HeaderMap, Message};

use crate::bus::connection::Bus;
use crate::bus::durable_door::intent_delivery::IntentDelivery;
use crate::bus::journal::append::append_single;
use crate::bus::journal::{AppendError, JournalEntry};
use crate::bus::{headers, subjects};
use crate::config::journal::JournalSettings;
use crate::wire::dead_letter::{BodyEncoding, DeadLetter};
use crate::wire::problem::Problem;

/// The bytes of a message reserved for the protocol and the headers of a dead letter.
const ENVELOPE_BYTES: usize = 16 * 1_024;
/// A letter that is too large keeps the first `1 / TRUNCATION_DIVISOR` of the room as its body: each byte of a body can
/// take six bytes in JSON.
const TRUNCATION_DIVISOR: usize = 8;

/// Appends a delivery to the stream of dead letters and returns the acknowledged sequence.
pub(in crate::bus) async fn append_dead_letter(
    bus: &Bus,
    delivery: &IntentDelivery,
    problem: &Problem,
) -> Result<u64, AppendError> {
    let message = &delivery.message;
    let room = bus.client.max_payload().saturating_sub(ENVELOPE_BYTES);
    let whole = encode_dead_letter(delivery, problem, message.payload.len());
    let fits = whole.len() + message.headers.as_ref().map_or(0, headers_size) <= room;
    let (body, forwarded) = if fits {
        (whole, forwarded_headers(message))
    } else {
        (
            encode_dead_letter(delivery, problem, room / TRUNCATION_DIVISOR),
            Vec::new(),
        )
    };
    let mut entry = JournalEntry {
        subject: subjects::dead_letter(&problem.code),
        // An intent that is redelivered before its termination was confirmed creates no second letter.
        message_id: format!("{}-{}", subjects::STREAM_INTENTS, delivery.stream_sequence),
        body: body.into(),
        headers: forwarded,
    };
    let deliveries = delivery.deliveries.to_string();
    entry
        .headers
        .push((headers::DEAD_SUBJECT.to_owned(), message.subject.to_string()));
    entry.headers.push((headers::DEAD_DELIVERIES.to_owned(), deliveries));
    append_single(bus, &JournalSettings::default(), &entry).await
}

fn encode_dead_letter(delivery: &IntentDelivery, problem: &Problem, body_max: usize) -> Vec<u8> {
    let message = &delivery.message;
    let kept = &message.payload[..body_max.min(message.payload.len())];
    let is_truncated = kept.len() < message.payload.len();
    let (body, body_encoding) = match std::str::from_utf8(kept) {
        Ok(text) => (text.to_owned(), BodyEncoding::Utf8),
        Err(_) => (encode_base64(kept), BodyEncoding::Base64),
    };
    let letter = DeadLetter {
        subject: message.subject.to_string(),
        headers: if is_truncated {
            BTreeMap::new()
        } else {
            collect_headers(message)
        },
        body,
        body_encoding,
        truncated_from: is_truncated.then_some(message.payload.len() as u64),
        deliveries: delivery.deliveries,
        stream_sequence: delivery.stream_sequence,
        published_at: delivery.published_at,
        problem: problem.clone(),
    };
    // Strings and numbers only: encoding cannot fail.
    serde_json::to_vec(&letter).unwrap_or_default()
}

fn collect_headers(message: &Message) -> BTreeMap<String, Vec<String>> {
    let all = message.headers.iter().flat_map(HeaderMap::iter);
    let texts = |values: &Vec<async_nats::HeaderValue>| values.iter().map(|value| value.as_str().to_owned()).collect();
    all.map(|(name, values)| (name.to_string(), texts(values))).collect()
}

/// Returns the headers that a dead letter keeps as headers. The server would interpret its own ones a second time.
fn forwarded_headers(message: &Message) -> Vec<(String, String)> {
    let all = message.headers.iter().flat_map(HeaderMap::iter);
    all.map(|(name, values)| (name.to_string(), values))
        .filter(|(name, _)| !is_server_header(name))
        .filter_map(|(name, values)| Some((name, values.first()?.as_str().to_owned())))
        .collect()
}

fn is_server_header(name: &str) -> bool {
    name.get(..headers::SERVER_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(headers::SERVER_PREFIX))
}

fn headers_size(map: &HeaderMap) -> usize {
    let value_sizes = |(name, values): (&async_nats::HeaderName, &Vec<async_nats::HeaderValue>)| {
        let name: &str = name.as_ref();
        values
            .iter()
            .map(|value| name.len() + value.as_str().len() + 4)
            .sum::<usize>()
    };
    map.iter().map(value_sizes).sum()
}

/// Returns the standard base64 (RFC 4648, with padding) of bytes.
fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let is_digit = place <= group.len();
            text.push(if is_digit {
                char::from(ALPHABET[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_rfc_4648() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xff, 0xfe, 0xfd, 0xfc], "//79/A=="),
        ] {
            assert_eq!(encode_base64(bytes), text);
        }
    }

    #[test]
    fn server_headers_are_not_forwarded() {
        assert!(is_server_header("Nats-Msg-Id") && is_server_header("nats-expected-stream"));
        assert!(!is_server_header("Reply-To") && !is_server_header("Näts"));
    }
}
