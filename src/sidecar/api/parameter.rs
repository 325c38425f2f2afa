//! The parameters of operations, and those that several have.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::operation::{SchemaOf, of, text};
use crate::bus::headers::{DEADLINE, TRACEPARENT};
use crate::wire::grammar::{self, TimestampInput};

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum Place {
    /// In the path, in braces; it is always required.
    Path,
    /// In the query.
    Query,
    /// A header.
    Header,
}

impl Place {
    /// Returns the document's word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// A parameter of an operation.
pub(in crate::sidecar) struct Parameter {
    pub(super) place: Place,
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) schema: SchemaOf,
    /// JSON.
    pub(super) example: Option<&'static str>,
}

impl Parameter {
    /// Returns a segment of the path.
    pub(super) fn path(name: &'static str, text: &'static str, schema: SchemaOf, example: &'static str) -> Self {
        Self::of(Place::Path, name, text, schema, Some(example))
    }

    /// Returns a parameter of the query, which may be missing.
    pub(super) fn query(name: &'static str, text: &'static str, schema: SchemaOf, example: &'static str) -> Self {
        Self::of(Place::Query, name, text, schema, Some(example))
    }

    /// Returns a header, which may be missing.
    pub(super) fn header(name: &'static str, text: &'static str, schema: SchemaOf) -> Self {
        Self::of(Place::Header, name, text, schema, None)
    }

    fn of(
        place: Place,
        name: &'static str,
        text: &'static str,
        schema: SchemaOf,
        example: Option<&'static str>,
    ) -> Self {
        Self {
            place,
            name,
            text,
            schema,
            example,
        }
    }

    /// Returns the account of a query.
    pub(super) fn account(text: &'static str) -> Self {
        Self::query("account_id", text, token, r#""default""#)
    }

    /// Returns the broker of a path.
    pub(super) fn broker() -> Self {
        Self::path("broker", "The broker.", token, r#""binance""#)
    }

    /// Returns the deadline of a request.
    pub(super) fn deadline() -> Self {
        let text = "Until when the request counts, such as `2026-03-02T09:30:05Z` (RFC 3339): what reaches a worker later is refused with \
                    `intent_expired`. It can tighten the sidecar's own time limit, not loosen it.";
        Self::header(DEADLINE, text, of::<TimestampInput>)
    }

    /// Returns the trace a request is part of.
    pub(super) fn traceparent() -> Self {
        let text = "The trace the request is part of (W3C Trace Context); one that is none counts as missing.";
        Self::header(TRACEPARENT, text, self::text)
    }

    /// Returns the client's own id of a request.
    pub(super) fn request_id() -> Self {
        let text = "The client's own id of the request, which the answer and the sidecar's log repeat; one that is not \
                    1-64 printable ASCII characters without a space is replaced.";
        Self::header("X-Request-Id", text, self::text)
    }
}

/// Returns the schema of one token: a broker or an account.
pub(super) fn token(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": grammar::TOKEN})
}

/// Returns the schema of the router's id of an order.
pub(super) fn order_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": grammar::ORDER_ID})
}

/// Returns the schema of the caller's id of an order.
pub(super) fn client_order_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": grammar::CLIENT_ORDER_ID})
}
