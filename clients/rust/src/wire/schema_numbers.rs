//! JSON Schemas of exact numbers.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::json;

use crate::domain::decimal::{Decimal, MAX_NUMBER_TEXT_LENGTH};
use crate::domain::quantity::{PRICE_BOUND, QUANTITY_BOUND};

/// JSON's number grammar as a pattern, for a number in a string.
const NUMBER_PATTERN: &str = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$";
/// The same for a number above zero: no sign, and a digit other than zero before the exponent.
const POSITIVE_PATTERN: &str = r"^(?=[0-9.]*[1-9])(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$";
/// Amounts of money are below this, in the base currency: 2^53 − 1 millionths, rounded up to a whole number, because the
/// numbers of a schema are floats.
const MONEY_BOUND: i64 = 9_007_199_255;

/// An exact number in a request: a JSON number, or a string in JSON number grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NumberInput(pub Decimal);

impl JsonSchema for NumberInput {
    fn schema_name() -> Cow<'static, str> {
        "NumberInput".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An exact decimal number, as a JSON number or as a string in JSON number grammar.",
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
    /// The schema of a price in a request.
    PriceInput: "A price above zero and below 10^9 with at most 8 decimals, as a JSON number or as a string in JSON number grammar.",
        json!({"exclusiveMinimum": 0, "exclusiveMaximum": PRICE_BOUND}), POSITIVE_PATTERN;
    /// The schema of a quantity in a request.
    QuantityInput: "A quantity above zero and below 10^11 with at most 8 decimals, as a JSON number or as a string in JSON number grammar.",
        json!({"exclusiveMinimum": 0, "exclusiveMaximum": QUANTITY_BOUND}), POSITIVE_PATTERN;
    /// The schema of a signed quantity in a request.
    SignedQuantityInput: "A quantity within ±10^11, not zero, with at most 8 decimals, as a JSON number or as a string in JSON number grammar.",
        json!({"exclusiveMinimum": -QUANTITY_BOUND, "exclusiveMaximum": QUANTITY_BOUND, "not": {"const": 0}}), NUMBER_PATTERN;
    /// The schema of an amount of money in a request.
    MoneyInput: "An amount within ±9007199254.740991 with at most 8 decimals, as a JSON number or as a string in JSON number grammar.",
        json!({"exclusiveMinimum": -MONEY_BOUND, "exclusiveMaximum": MONEY_BOUND}), NUMBER_PATTERN;
    /// The schema of an amount of money above zero in a request.
    PositiveMoneyInput: "An amount above zero and at most 9007199254.740991, as a JSON number or as a string in JSON number grammar.",
        json!({"exclusiveMinimum": 0, "exclusiveMaximum": MONEY_BOUND}), POSITIVE_PATTERN;
}

/// The schema of an exact number in a reply or event: a plain JSON number, without exponent or trailing zeros.
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
