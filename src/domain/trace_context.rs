//! The trace context of a message: the `traceparent` header of W3C Trace Context, version 00.

use std::fmt;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// Where a call belongs in a distributed trace: the trace, and the span that its next hop has as parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// Returns the context of a header: `00-{32 hex digits}-{16 hex digits}-{2 hex digits}`, all in lower case. Returns
    /// `None` for anything else, another version or an all-zero id included: W3C Trace Context, section 3.2, has an
    /// invalid header ignored, never refused.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00" || parts.next().is_some() {
            return None;
        }
        let context = Self {
            trace_id: parse_hex(trace_id, 32)?,
            span_id: parse_hex(span_id, 16)?.try_into().ok()?,
            flags: parse_hex(flags, 2)?.try_into().ok()?,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }

    /// Returns the context of a new span whose parent is this one's span.
    #[must_use]
    pub fn child(self) -> Self {
        let (span_id, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { span_id, ..self }
    }

    /// Returns the context of the first span of a new trace.
    pub fn new_trace(is_sampled: bool) -> Self {
        // The version's digit of both ids is 4: neither is zero.
        let (span_id, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self {
            trace_id: uuid::Uuid::new_v4().as_u128(),
            span_id,
            flags: if is_sampled { SAMPLED } else { 0 },
        }
    }

    /// Reports whether the trace is recorded (the flag `sampled`).
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the trace's id as bytes, the most significant first.
    pub fn trace_id_bytes(&self) -> [u8; 16] {
        self.trace_id.to_be_bytes()
    }

    /// Returns the span's id as bytes, the most significant first.
    pub fn span_id_bytes(&self) -> [u8; 8] {
        self.span_id.to_be_bytes()
    }

    /// Returns the trace's id: 32 hex digits in lower case.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// Returns the span's id: 16 hex digits in lower case.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }
}

/// Writes the header.
impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

fn parse_hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == digits && is_hex).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn header_round_trips() {
        let context = TraceContext::parse(HEADER).unwrap();
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id(), "b7ad6b7169203331");
        assert_eq!(context.to_string(), HEADER);
    }

    #[test]
    fn child_keeps_trace_and_flags_and_has_a_span_of_its_own() {
        let parent = TraceContext::parse(HEADER).unwrap();
        let child = parent.child();
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, parent.flags));
        assert_ne!(child.span_id, parent.span_id);
        assert_eq!(TraceContext::parse(&child.to_string()), Some(child));
    }

    #[test]
    fn invalid_headers_are_ignored() {
        for text in [
            "",
            "00",
            "00-1-2-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text:?}");
        }
    }
}
