//! The parameters of operations, and those that several have.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::bus::headers::{DEADLINE, TRACEPARENT};
use crate::sidecar::openapi::operation::{SchemaFn, schema_of, text_schema};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::TimestampInput;

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum ParameterLocation {
    /// In the path, in braces; it is always required.
    Path,
    /// In the query.
    Query,
    /// A header.
    Header,
}

impl ParameterLocation {
    /// Returns the document's word.
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
    /// JSON.
    pub(in crate::sidecar) example: Option<&'static str>,
}

impl Parameter {
    /// Returns a segment of the path.
    pub(in crate::sidecar) fn path(
        name: &'static str,
        description: &'static str,
        schema: SchemaFn,
        example: &'static str,
    ) -> Self {
        Self::new(ParameterLocation::Path, name, description, schema, Some(example))
    }

    /// Returns a parameter of the query, which may be missing.
    pub(in crate::sidecar) fn query(
        name: &'static str,
        description: &'static str,
        schema: SchemaFn,
        example: &'static str,
    ) -> Self {
        Self::new(ParameterLocation::Query, name, description, schema, Some(example))
    }

    /// Returns a header, which may be missing.
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
            location: location,
            name,
            description: description,
            schema,
            example,
        }
    }

    /// Returns the account of a query.
    pub(in crate::sidecar) fn account(description: &'static str) -> Self {
        Self::query("account_id", description, token_schema, r#""default""#)
    }

    /// Returns the broker of a path.
    pub(in crate::sidecar) fn broker() -> Self {
        Self::path("broker", "The broker.", token_schema, r#""binance""#)
    }

    /// Returns the deadline of a request.
    pub(in crate::sidecar) fn deadline() -> Self {
        let text = "Until when the request counts, such as `2026-03-02T09:30:05Z` (RFC 3339): what reaches a worker later is refused with \
                    `intent_expired`. It can tighten the sidecar's own time limit, not loosen it.";
        Self::header(DEADLINE, text, schema_of::<TimestampInput>)
    }

    /// Returns the trace a request is part of.
    pub(in crate::sidecar) fn traceparent() -> Self {
        let text = "The trace the request is part of (W3C Trace Context); one that is none counts as missing.";
        Self::header(TRACEPARENT, text, self::text_schema)
    }

    /// Returns the client's own id of a request.
    pub(in crate::sidecar) fn request_id() -> Self {
        let text = "The client's own id of the request, which the answer and the sidecar's log repeat; one that is not \
                    1-64 printable ASCII characters without a space is replaced.";
        Self::header("X-Request-Id", text, self::text_schema)
    }
}

/// Returns the schema of one token: a broker or an account.
pub(in crate::sidecar) fn token_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::TOKEN})
}

/// Returns the schema of the router's id of an order.
pub(in crate::sidecar) fn order_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::ORDER_ID})
}

/// Returns the schema of the caller's id of an order.
pub(in crate::sidecar) fn client_order_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::CLIENT_ORDER_ID})
}
