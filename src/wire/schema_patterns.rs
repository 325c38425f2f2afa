//! How identifiers and points in time look in JSON Schemas: the grammar of `domain` as patterns.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// One token of a subject: a broker or an account.
pub const TOKEN: &str = "^[A-Za-z0-9_-]{1,64}$";
/// A venue.
pub const VENUE: &str = "^[A-Za-z0-9_.-]{1,64}$";
/// A symbol before it is normalised: 1 to 32 printable characters beside any `/`, `-` and spaces.
pub const SYMBOL: &str = "^([-/ ]*[!-,.0-~]){1,32}[-/ ]*$";
/// The caller's id of an order.
pub const CLIENT_ORDER_ID: &str = "^[!-~]{1,36}$";
/// The caller's id of an adjustment.
pub const ADJUSTMENT_ID: &str = "^[!-~]{1,64}$";
/// The router's id of an order.
pub const ORDER_ID: &str = "^[A-Za-z0-9_-]{1,36}$";
/// A tag, or a note of an operator: no control characters.
pub const PLAIN_TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// A note on an order: of the control characters the line feed alone.
pub const NOTE: &str = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$";
/// RFC 3339 with any offset.
const TIMESTAMP: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";
/// RFC 3339 as the router writes it.
const TIMESTAMP_WRITTEN: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$";
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";

macro_rules! stand_ins {
    ($($(#[$doc:meta])* $name:ident: $schema:tt;)+) => {$(
        $(#[$doc])*
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

stand_ins! {
    /// Stands for a timestamp of a request in a schema.
    TimestampInput: {"type": "string", "format": "date-time", "pattern": TIMESTAMP};
    /// Stands for a timestamp of an answer in a schema: UTC, six decimals, `Z`.
    UtcTimestamp: {"type": "string", "format": "date-time", "pattern": TIMESTAMP_WRITTEN};
    /// Stands for a trading date in a schema.
    CivilDate: {"type": "string", "format": "date", "pattern": DATE};
    /// Stands for a tag of a request in a schema.
    TagInput: {"type": "string", "minLength": 1, "maxLength": 64, "pattern": PLAIN_TEXT};
}
