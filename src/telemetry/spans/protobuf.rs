//! Spans as the protobuf message `ExportTraceServiceRequest` of OTLP (opentelemetry-proto 1.x, `trace.proto`).
//!
//! A field is a key, its number and wire type, and a value: a varint, eight bytes, or a length with its bytes. The numbers
//! below are those of the schema; a test decodes an export with the schema's generated types.

use crate::telemetry::spans::span::{SpanKind, SpanValue, TimedSpan};

/// The name of the service in every span.
const SERVICE_NAME: &str = "order-router";

/// Wire types of fields.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;

/// `Status.StatusCode`: the span failed.
const STATUS_ERROR: u64 = 2;

/// Returns the message with these spans.
pub(super) fn encode_export_request(spans: &[TimedSpan]) -> Vec<u8> {
    let mut resource = Message::default();
    resource.message(1, &attribute("service.name", &SpanValue::Text(SERVICE_NAME.to_owned())));
    let version = SpanValue::Text(env!("CARGO_PKG_VERSION").to_owned());
    resource.message(1, &attribute("service.version", &version));
    let process = SpanValue::Whole(std::process::id().into());
    resource.message(1, &attribute("process.pid", &process));
    let mut scope = Message::default();
    scope.text(1, SERVICE_NAME);
    let mut scope_spans = Message::default();
    scope_spans.message(1, &scope);
    for span in spans {
        scope_spans.message(2, &encode_span(span));
    }
    let mut resource_spans = Message::default();
    resource_spans.message(1, &resource);
    resource_spans.message(2, &scope_spans);
    let mut request = Message::default();
    request.message(1, &resource_spans);
    request.0
}

fn encode_span(timed: &TimedSpan) -> Message {
    let TimedSpan {
        context,
        span,
        ended_at,
    } = timed;
    let elapsed = u64::try_from(span.elapsed.as_nanos()).unwrap_or(u64::MAX);
    let mut message = Message::default();
    message.bytes(1, &context.trace_id_bytes());
    message.bytes(2, &context.span_id_bytes());
    if let Some(parent) = span.parent {
        message.bytes(4, &parent.span_id_bytes());
    }
    message.text(5, &span.name);
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    message.varint(6, kind);
    message.fixed64(7, ended_at.saturating_sub(elapsed));
    message.fixed64(8, *ended_at);
    for (key, value) in &span.attributes {
        message.message(9, &attribute(key, value));
    }
    if let Some(error) = &span.error {
        let mut status = Message::default();
        status.text(2, error);
        status.varint(3, STATUS_ERROR);
        message.message(15, &status);
    }
    message
}

fn attribute(key: &str, value: &SpanValue) -> Message {
    let mut any = Message::default();
    match value {
        SpanValue::Text(text) => any.text(1, text),
        SpanValue::Whole(number) => any.varint(3, *number),
    }
    let mut attribute = Message::default();
    attribute.text(1, key);
    attribute.message(2, &any);
    attribute
}

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, wire_type: u64) {
        self.raw_varint(field << 3 | wire_type);
    }

    /// Appends a number in groups of seven bits, the lowest first; all but the last have the top bit set.
    fn raw_varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn varint(&mut self, field: u64, number: u64) {
        self.key(field, VARINT);
        self.raw_varint(number);
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, LENGTH_DELIMITED);
        self.raw_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }
}
