//! What a span records.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::trace_context::TraceContext;

/// The side of a call that a span shows (OpenTelemetry's `SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A step inside of a call.
    Internal,
    /// The handling of a request.
    Server,
    /// A request to another process, until its reply.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanValue {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(u64),
}

/// A finished span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The span that it belongs to, of the same trace; `None` for the first span of a trace.
    pub parent: Option<TraceContext>,
    /// What was done, one of few names.
    pub name: Cow<'static, str>,
    /// The side of the call.
    pub kind: SpanKind,
    /// How long it took; it ends when it is recorded.
    pub elapsed: Duration,
    /// Its attributes.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// Why it failed: the code of a fault, or an HTTP status.
    pub error: Option<String>,
}

/// A span with its end.
#[derive(Debug)]
pub(super) struct TimedSpan {
    /// Its trace and its own id.
    pub(super) context: TraceContext,
    pub(super) span: Span,
    /// In nanoseconds since the Unix epoch.
    pub(super) ended_at: u64,
}
