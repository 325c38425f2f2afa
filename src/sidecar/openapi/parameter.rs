//! The parameters of operations, and those that several operations share.

use crate::bus::headers::{DEADLINE, TRACEPARENT};
use crate::sidecar::openapi::schema::{SchemaFn, account_schema, schema_of, text_schema, token_schema};
use crate::wire::schema_patterns::TimestampInput;

/// The location of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum ParameterLocation {
    /// In the path, in braces. Always required.
    Path,
    /// In the query.
    Query,
    /// A header.
    Header,
}

impl ParameterLocation {
    /// Returns the value of `in` in the document.
    pub(in crate::sidecar) fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// A parameter of an operation.
pub(in crate::sidecar) struct Parameter {
    pub(in crate::sidecar) location: ParameterLocation,
    pub(in crate::sidecar) name: &'static str,
    pub(in crate::sidecar) description: &'static str,
    pub(in crate::sidecar) schema: SchemaFn,
    /// The example, as JSON.
    pub(in crate::sidecar) example: Option<&'static str>,
}

impl Parameter {
    /// Returns a parameter of the path.
    pub(in crate::sidecar) fn path(
        name: &'static str,
        description: &'static str,
        schema: SchemaFn,
        example: &'static str,
    ) -> Self {
        Self::new(ParameterLocation::Path, name, description, schema, Some(example))
    }

    /// Returns an optional parameter of the query.
    pub(in crate::sidecar) fn query(
        name: &'static str,
        description: &'static str,
        schema: SchemaFn,
        example: &'static str,
    ) -> Self {
        Self::new(ParameterLocation::Query, name, description, schema, Some(example))
    }

    /// Returns an optional header.
    pub(in crate::sidecar) fn header(name: &'static str, description: &'static str, schema: SchemaFn) -> Self {
        Self::new(ParameterLocation::Header, name, description, schema, None)
    }

    fn new(
        location: ParameterLocation,
        name: &'static str,
        description: &'static str,
        schema: SchemaFn,
        example: Option<&'static str>,
    ) -> Self {
        Self {
            location,
            name,
            description,
            schema,
            example,
        }
    }

    /// Returns the query parameter `account_id`.
    pub(in crate::sidecar) fn account(description: &'static str) -> Self {
        Self::query("account_id", description, account_schema, r#""default""#)
    }

    /// Returns the path parameter `broker`.
    pub(in crate::sidecar) fn broker() -> Self {
        Self::path("broker", "The broker.", token_schema, r#""binance""#)
    }

    /// Returns the header with the deadline of a request.
    pub(in crate::sidecar) fn deadline() -> Self {
        let text = "The time at which the request expires (strict RFC 3339, e.g. `2026-03-02T09:30:05Z`). A worker that receives it \
                    later refuses it with `intent_expired`. It can shorten the sidecar's own timeout, not extend it.";
        Self::header(DEADLINE, text, schema_of::<TimestampInput>)
    }

    /// Returns the header with the trace context of a request.
    pub(in crate::sidecar) fn traceparent() -> Self {
        let text = "The W3C Trace Context of the request. An invalid value is ignored.";
        Self::header(TRACEPARENT, text, text_schema)
    }

    /// Returns the header with the client's id of a request.
    pub(in crate::sidecar) fn request_id() -> Self {
        let text = "The client's id of the request, echoed in the response and in the sidecar's log. A value other than 1-64 \
                    printable ASCII characters without spaces is replaced.";
        Self::header("X-Request-Id", text, text_schema)
    }
}
