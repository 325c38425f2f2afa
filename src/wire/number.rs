//! How exact numbers look in JSON Schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::domain::decimal::Decimal;

/// JSON's number grammar as a pattern, for numbers given as strings.
const NUMBER_PATTERN: &str = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$";

/// A number of a request: a JSON number, or a string in JSON number grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NumberInput(pub Decimal);

impl JsonSchema for NumberInput {
    fn schema_name() -> Cow<'static, str> {
        "NumberInput".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An exact decimal: a JSON number, or a string in JSON number grammar.",
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": NUMBER_PATTERN, "maxLength": 64}]
        })
    }
}

/// Stands for an exact number of an answer in a schema: a plain JSON number.
pub struct PlainNumber;

impl JsonSchema for PlainNumber {
    fn schema_name() -> Cow<'static, str> {
        "PlainNumber".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number"})
    }
}

/// Stands for a timestamp in a schema.
pub struct UtcTimestamp;

impl JsonSchema for UtcTimestamp {
    fn schema_name() -> Cow<'static, str> {
        "UtcTimestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}
