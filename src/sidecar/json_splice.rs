//! Text fields added to a JSON object, every other byte unchanged.
//!
//! The sidecar forwards the client's own bytes, so that it never rewrites a number.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::value::RawValue;

/// Why a field was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum SpliceError<'a> {
    /// The body is not a JSON object.
    NotAnObject,
    /// The object has this field, and not as `null`.
    FieldExists(&'a str),
}

/// Returns the JSON object with text fields that it lacks, or has as `null`, and with those of `defaults` that it lacks. All
/// names must differ.
///
/// # Errors
/// [`SpliceError`]: the body is not an object, or has one of `fields`.
pub(in crate::sidecar) fn with_text_fields<'a>(
    body: &[u8],
    fields: &[(&'a str, &str)],
    defaults: &[(&'a str, &str)],
) -> Result<Bytes, SpliceError<'a>> {
    let known: HashMap<String, &RawValue> = serde_json::from_slice(body).map_err(|_| SpliceError::NotAnObject)?;
    let open = body.iter().position(|&byte| byte == b'{');
    let start = open.ok_or(SpliceError::NotAnObject)? + 1;
    let mut inserted = String::new();
    let mut nulls = Vec::new();
    let fields = fields.iter().map(|field| (field, true));
    let defaults = defaults.iter().map(|field| (field, false));
    for (&(name, text), must_lack) in fields.chain(defaults) {
        let value = json_string(text);
        match known.get(name).map(|raw| raw.get()) {
            // A raw value is a slice of the body: its position is the distance of their addresses.
            Some(raw @ "null") => {
                let position = (raw.as_ptr() as usize).checked_sub(body.as_ptr() as usize);
                nulls.push((position.ok_or(SpliceError::NotAnObject)?, raw.len(), value));
            }
            Some(_) if must_lack => return Err(SpliceError::FieldExists(name)),
            Some(_) => {}
            None => {
                let comma = if known.is_empty() && inserted.is_empty() {
                    ""
                } else {
                    ","
                };
                inserted = format!("{}:{value}{comma}{inserted}", json_string(name));
            }
        }
    }
    let mut spliced = body.to_vec();
    // From the end to the beginning: a replacement leaves the positions before it unchanged.
    nulls.sort_unstable_by_key(|(position, ..)| std::cmp::Reverse(*position));
    for (position, length, value) in nulls {
        spliced.splice(position..position + length, value.into_bytes());
    }
    spliced.splice(start..start, inserted.into_bytes());
    Ok(spliced.into())
}

/// Returns a text as JSON. Encoding a string cannot fail.
fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_added_and_every_other_byte_is_unchanged() {
        for (body, expected) in [
            (r#"{"q":0.10e1}"#, Ok(r#"{"id":"x\"y","q":0.10e1}"#)),
            (" \n{ \"q\" : 1 } ", Ok(" \n{\"id\":\"x\\\"y\", \"q\" : 1 } ")),
            ("{}", Ok(r#"{"id":"x\"y"}"#)),
            (r#"{"id": null, "q":1}"#, Ok(r#"{"id": "x\"y", "q":1}"#)),
            (r#"{"q":1,"\u0069d":null}"#, Ok(r#"{"q":1,"\u0069d":"x\"y"}"#)),
            (r#"{"r":{"id":null}}"#, Ok(r#"{"id":"x\"y","r":{"id":null}}"#)),
            (r#"{"id":"z"}"#, Err(SpliceError::FieldExists("id"))),
            (r#"{"id":7}"#, Err(SpliceError::FieldExists("id"))),
            ("[]", Err(SpliceError::NotAnObject)),
            ("", Err(SpliceError::NotAnObject)),
        ] {
            let spliced = with_text_fields(body.as_bytes(), &[("id", "x\"y")], &[]);
            assert_eq!(
                spliced,
                expected.map(|text| Bytes::from_static(text.as_bytes())),
                "{body}"
            );
        }
    }

    #[test]
    fn several_fields_are_added_in_one_pass() {
        for (body, expected) in [
            ("{}", r#"{"b":"2","a":"1"}"#),
            (r#"{"q":1}"#, r#"{"b":"2","a":"1","q":1}"#),
            (r#"{"a":null,"q":1}"#, r#"{"b":"2","a":"1","q":1}"#),
            (r#"{"b":null,"a": null}"#, r#"{"b":"2","a": "1"}"#),
        ] {
            for (fields, defaults) in [(&[("a", "1"), ("b", "2")][..], &[][..]), (&[("a", "1")], &[("b", "2")])] {
                let spliced = with_text_fields(body.as_bytes(), fields, defaults).unwrap();
                assert_eq!(spliced, expected.as_bytes(), "{body}");
            }
        }
        let both = with_text_fields(br#"{"b":1}"#, &[("a", "1"), ("b", "2")], &[]);
        assert_eq!(both, Err(SpliceError::FieldExists("b")));
        let own = with_text_fields(br#"{"b":1}"#, &[("a", "1")], &[("b", "2")]).unwrap();
        assert_eq!(own, r#"{"a":"1","b":1}"#);
    }
}
