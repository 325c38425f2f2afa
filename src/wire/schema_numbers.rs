//! How exact numbers look in JSON Schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::json;

use crate::domain::decimal::{Decimal, MAX_NUMBER_TEXT_LENGTH};
use crate::domain::quantity::{PRICE_BOUND, QUANTITY_BOUND};

/// JSON's number grammar as a pattern, for numbers given as strings.
const NUMBER_PATTERN: &str = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$";
/// The same for numbers above zero: no sign, and a digit that is not zero before the exponent.
const POSITIVE_PATTERN: &str = r"^(?=[0-9.]*[1-9])(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$";
/// Money lies below this, in the base currency: the bound of 2^53 − 1 millionths, raised to a whole number, since the
/// numbers of a schema are floats.
const MONEY_BOUND: i64 = 9_007_199_255;

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
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": NUMBER_PATTERN, "maxLength": MAX_NUMBER_TEXT_LENGTH}]
        })
    }
}

macro_rules! number_inputs {
    ($($(#[$doc:meta])* $name:ident: $description:literal, $bounds:expr, $pattern:expr;)+) => {$(
        $(#[$doc])*
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut number = $bounds;
                number["type"] = json!("number");
                json_schema!({
                    "description": $description,
                    "anyOf": [number, {"type": "string", "pattern": $pattern, "maxLength": MAX_NUMBER_TEXT_LENGTH}]
                })
            }
        }
    )+};
}

number_inputs! {
    /// Stands for a price of a request in a schema.
    PriceInput: "Above zero, below 10^9, at most 8 decimals: a JSON number, or a string in JSON number grammar.",
        json!({"exclusiveMinimum": 0, "exclusiveMaximum": PRICE_BOUND}), POSITIVE_PATTERN;
    /// Stands for a quantity of a request in a schema.
    QuantityInput: "Above zero, below 10^11, at most 8 decimals: a JSON number, or a string in JSON number grammar.",
        json!({"exclusiveMinimum": 0, "exclusiveMaximum": QUANTITY_BOUND}), POSITIVE_PATTERN;
    /// Stands for a quantity with a sign of a request in a schema.
    SignedQuantityInput: "Within ±10^11, not zero, at most 8 decimals: a JSON number, or a string in JSON number grammar.",
        json!({"exclusiveMinimum": -QUANTITY_BOUND, "exclusiveMaximum": QUANTITY_BOUND, "not": {"const": 0}}), NUMBER_PATTERN;
    /// Stands for an amount of money of a request in a schema.
    MoneyInput: "Within ±9007199254.740991, at most 8 decimals: a JSON number, or a string in JSON number grammar.",
        json!({"exclusiveMinimum": -MONEY_BOUND, "exclusiveMaximum": MONEY_BOUND}), NUMBER_PATTERN;
    /// Stands for an amount of money above zero of a request in a schema.
    PositiveMoneyInput: "Above zero, at most 9007199254.740991: a JSON number, or a string in JSON number grammar.",
        json!({"exclusiveMinimum": 0, "exclusiveMaximum": MONEY_BOUND}), POSITIVE_PATTERN;
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
