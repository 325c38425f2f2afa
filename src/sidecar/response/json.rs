//! JSON texts: answers made of them, and fields put into them without touching the rest.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// The media type of answers and of requests.
pub(in crate::sidecar) const APPLICATION_JSON: &str = "application/json";

/// Returns an answer of a JSON text.
pub(in crate::sidecar) fn raw_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(APPLICATION_JSON));
    response
}

/// Returns an answer of what is written as JSON.
pub(in crate::sidecar) fn encode_response(status: StatusCode, value: &impl Serialize) -> Response {
    // Strings and exact numbers only: there is nothing in them that JSON cannot hold.
    raw_response(status, serde_json::to_vec(value).unwrap_or_default())
}

/// Returns the JSON object with a text field that it does not have, or has as `null`; everything else stays byte for
/// byte what it was, so that no number is written anew. `None` when the field is there, or the body is no object.
pub(in crate::sidecar) fn with_text_field(body: &Bytes, name: &str, text: &str) -> Option<Bytes> {
    let fields: HashMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    let value = serde_json::to_string(text).ok()?;
    match fields.get(name).map(|raw| raw.get()) {
        Some("null") => {
            // The raw value is a piece of the body: its place is the distance of their beginnings.
            let raw = fields.get(name)?.get();
            let at = (raw.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
            Some(splice(body, at, at + raw.len(), &value))
        }
        Some(_) => None,
        None => {
            let at = body.iter().position(|&byte| byte == b'{')? + 1;
            let comma = if fields.is_empty() { "" } else { "," };
            let name = serde_json::to_string(name).ok()?;
            Some(splice(body, at, at, &format!("{name}:{value}{comma}")))
        }
    }
}

fn splice(body: &[u8], start: usize, end: usize, replacement: &str) -> Bytes {
    let (before, after) = (body.get(..start), body.get(end..));
    [
        before.unwrap_or_default(),
        replacement.as_bytes(),
        after.unwrap_or_default(),
    ]
    .concat()
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_put_in_and_nothing_else_changes() {
        for (body, expected) in [
            (r#"{"q":0.10e1}"#, Some(r#"{"id":"x\"y","q":0.10e1}"#)),
            (" \n{ \"q\" : 1 } ", Some(" \n{\"id\":\"x\\\"y\", \"q\" : 1 } ")),
            ("{}", Some(r#"{"id":"x\"y"}"#)),
            (r#"{"id": null, "q":1}"#, Some(r#"{"id": "x\"y", "q":1}"#)),
            (r#"{"q":1,"\u0069d":null}"#, Some(r#"{"q":1,"\u0069d":"x\"y"}"#)),
            (r#"{"id":"z"}"#, None),
            (r#"{"id":7}"#, None),
            (r#"{"r":{"id":null}}"#, Some(r#"{"id":"x\"y","r":{"id":null}}"#)),
            ("[]", None),
            ("", None),
        ] {
            let made = with_text_field(&Bytes::copy_from_slice(body.as_bytes()), "id", "x\"y");
            assert_eq!(made.as_deref(), expected.map(str::as_bytes), "{body}");
        }
    }
}
