//! Request headers that may occur once.

use std::fmt::Display;

use axum::http::{HeaderMap, HeaderValue};

use crate::fault::{Fault, FaultCode};

/// A header occurs more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not be repeated")]
pub(in crate::sidecar) struct RepeatedHttpHeader;

/// Returns the only value of a header, or `None` without the header.
///
/// # Errors
/// [`RepeatedHttpHeader`] if the request has the header more than once.
pub(in crate::sidecar) fn single_header<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a HeaderValue>, RepeatedHttpHeader> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(RepeatedHttpHeader),
    }
}

/// Returns a header's value as `parse` reads it, or `None` without the header. A value that is not ASCII reads as empty.
///
/// # Errors
/// `invalid_field` with the header's name if the header is repeated or `parse` refuses its value.
pub(in crate::sidecar) fn parse_header<T, E: Display>(
    headers: &HeaderMap,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Fault> {
    let invalid = |rule: &dyn Display| Fault::for_field(FaultCode::InvalidField, name, rule);
    let value = single_header(headers, name).map_err(|rule| invalid(&rule))?;
    value
        .map(|value| parse(value.to_str().unwrap_or_default()))
        .transpose()
        .map_err(|rule| invalid(&rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_read_once_and_refused_when_repeated() {
        let mut headers = HeaderMap::new();
        let read = |headers: &HeaderMap| parse_header(headers, "Deadline", str::parse::<u8>);
        assert_eq!(read(&headers), Ok(None));
        headers.append("deadline", HeaderValue::from_static("7"));
        assert_eq!(read(&headers), Ok(Some(7)));
        headers.append("deadline", HeaderValue::from_static("7"));
        let fault = read(&headers).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some("Deadline"));
        assert_eq!(fault.detail, "Deadline must not be repeated");
    }
}
