//! JSON Schemas of identifiers, texts and times: the grammar of `domain` as patterns.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// One token of a subject, such as a broker, 1-64 characters.
pub const TOKEN: &str = "^[A-Za-z0-9_-]{1,64}$";
/// An account, 1-64 characters: a token of a subject other than `_` alone.
pub const ACCOUNT: &str = "^([A-Za-z0-9-]|[A-Za-z0-9_-]{2,64})$";
/// A venue, 1-64 characters.
pub const VENUE: &str = "^[A-Za-z0-9_.-]{1,64}$";
/// A symbol before it is normalised: 1-32 printable characters, and any number of `/`, `-` and spaces.
pub const SYMBOL: &str = "^([-/ ]*[!-,.0-~]){1,32}[-/ ]*$";
/// A currency, 1-32 characters.
pub const CURRENCY: &str = "^[A-Za-z0-9._-]{1,32}$";
/// The caller's id of an order, 1-36 characters.
pub const CLIENT_ORDER_ID: &str = "^[!-~]{1,36}$";
/// The caller's id of an adjustment, 1-64 characters.
pub const ADJUSTMENT_ID: &str = "^[!-~]{1,64}$";
/// The router's id of an order, 1-36 characters.
pub const ORDER_ID: &str = "^[A-Za-z0-9_-]{1,36}$";
/// A tag or an operator's text: no control characters.
pub const PLAIN_TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// A note on an order: not only white space; the line feed and the tab are the only control characters allowed.
pub const NOTE: &str = concat!(
    r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*",
    r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
    r"[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$"
);
/// Tags of a note, separated by commas: at least one character that is neither a comma nor white space.
const NOTE_TAGS: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f]*",
    r"[^\u0000-\u0020,\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
    r"[^\u0000-\u001f\u007f-\u009f]*$"
);
/// A time in a filter: RFC 3339, also without seconds, without an offset, with a space in the place of `T` or `+`; or a date.
pub const FILTER_TIME: &str = concat!(
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}",
    r"([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[-+ ][0-9]{2}:[0-9]{2})?)?$"
);
/// RFC 3339 with any offset, as the router accepts it.
const TIMESTAMP: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
/// RFC 3339 as the router writes it.
const TIMESTAMP_WRITTEN: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$";
/// A calendar date.
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";

/// Makes types that exist only as schemas, for `#[schemars(with = "…")]`.
macro_rules! schema_types {
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

schema_types! {
    /// The schema of a timestamp in a request.
    TimestampInput: {"type": "string", "format": "date-time", "pattern": TIMESTAMP};
    /// The schema of a timestamp in a reply or event: UTC, six decimals, `Z`.
    UtcTimestamp: {"type": "string", "format": "date-time", "pattern": TIMESTAMP_WRITTEN};
    /// The schema of a trading date.
    CivilDate: {"type": "string", "format": "date", "pattern": DATE};
    /// The schema of a tag in a request.
    TagInput: {"type": "string", "minLength": 1, "maxLength": 64, "pattern": PLAIN_TEXT};
    /// The schema of the tags of a note: a list, or one text. Commas separate tags in either.
    NoteTagsInput: {"anyOf": [
        {"type": "array", "maxItems": 32, "items": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": NOTE_TAGS}},
        {"type": "string", "minLength": 1, "maxLength": 2048, "pattern": NOTE_TAGS}
    ]};
    /// The schema of a time in a filter.
    FilterTimeInput: {"type": "string", "pattern": FILTER_TIME};
}
