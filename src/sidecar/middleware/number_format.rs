//! `Accept: application/json; numbers=string`: responses with their numbers as strings. JavaScript reads a JSON number as a
//! 64-bit float, and a quantity or a price may have more digits.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::sidecar::paths::OPENAPI_PATH;
use crate::sidecar::response::media_type::{APPLICATION_JSON, PROBLEM_JSON};
use crate::sidecar::response::number_strings::quote_numbers;
use crate::sidecar::response::problem::InternalError;

/// The media ranges that a client may ask for with numbers as strings.
const JSON_RANGES: [&str; 4] = [APPLICATION_JSON, PROBLEM_JSON, "application/*", "*/*"];
/// The parameter of the media range and of the response's content type: its name, and its only value.
const NUMBERS: (&str, &str) = ("numbers", "string");
/// The longest JSON response, in bytes: above any page of a list.
const MAX_RESPONSE_BYTES: usize = 256 * 1_024 * 1_024;

/// Writes the numbers of a JSON response as strings if the client asks for it. The OpenAPI document is always as it is: its
/// numbers belong to JSON Schema.
pub(in crate::sidecar) async fn write_numbers_as_accepted(request: Request, next: Next) -> Response {
    let is_wanted = accepts_number_strings(request.headers()) && request.uri().path() != OPENAPI_PATH;
    let response = next.run(request).await;
    match json_media_type(&response).filter(|_| is_wanted) {
        Some(media_type) => with_number_strings(response, media_type).await,
        None => response,
    }
}

/// Returns whether one of the media ranges that a client accepts is JSON with `numbers=string`. Other values are ignored.
fn accepts_number_strings(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_json = parts
            .next()
            .is_some_and(|name| JSON_RANGES.iter().any(|known| known.eq_ignore_ascii_case(name)));
        is_json
            && parts
                .filter_map(|parameter| parameter.split_once('='))
                .any(|(name, value)| {
                    let value = value.trim().trim_matches('"');
                    name.trim().eq_ignore_ascii_case(NUMBERS.0) && value.eq_ignore_ascii_case(NUMBERS.1)
                })
    })
}

/// Returns the media type of a JSON response, or `None` for another response.
fn json_media_type(response: &Response) -> Option<&'static str> {
    let given = response.headers().get(CONTENT_TYPE)?;
    [APPLICATION_JSON, PROBLEM_JSON]
        .into_iter()
        .find(|known| given == known)
}

async fn with_number_strings(response: Response, media_type: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_RESPONSE_BYTES).await else {
        return InternalError("a JSON response is too long to write its numbers as strings").into_response();
    };
    // The length of the numbers without their quotes.
    parts.headers.remove(CONTENT_LENGTH);
    let (name, value) = NUMBERS;
    if let Ok(media_type) = HeaderValue::from_str(&format!("{media_type}; {name}={value}")) {
        parts.headers.insert(CONTENT_TYPE, media_type);
    }
    Response::from_parts(parts, Body::from(quote_numbers(&body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_asks_with_a_parameter_of_a_json_media_range() {
        for (accept, expected) in [
            ("application/json; numbers=string", true),
            ("application/json;numbers=\"String\"", true),
            ("text/html, Application/JSON ; q=0.9 ; Numbers = string", true),
            ("application/problem+json;numbers=string, application/json", true),
            ("*/*;numbers=string", true),
            ("application/json", false),
            ("application/json; numbers=float", false),
            ("text/html; numbers=string, application/json", false),
            ("numbers=string", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, HeaderValue::from_static("text/plain"));
            headers.append(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(accepts_number_strings(&headers), expected, "{accept}");
        }
        assert!(!accepts_number_strings(&HeaderMap::new()));
    }
}
