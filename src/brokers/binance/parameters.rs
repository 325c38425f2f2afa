//! The parameters of a request, percent-encoded as they are signed and sent.

use std::fmt::Write;

/// The parameters of a request, in the order they are sent.
///
/// Since 2026-01-15 the venue computes the signature over the percent-encoded text (`rest-api.md`, "Signed request"), so
/// there is one encoder, and what is signed is exactly what is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// Returns no parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the parameters with one more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// Returns the parameters with one more if there is a value.
    #[must_use]
    pub fn with_optional(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Returns the percent-encoded query string, without a leading `?`.
    pub fn to_query(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        join_encoded(pairs)
    }

    /// Returns the query string with the parameters in alphabetical order: what the WebSocket API signs
    /// (`web-socket-api.md`, "SIGNED request security").
    pub fn to_sorted_query(&self) -> String {
        let mut pairs: Vec<(&str, &str)> = self.0.iter().map(|(name, value)| (*name, value.as_str())).collect();
        pairs.sort_unstable();
        join_encoded(pairs.into_iter())
    }

    /// Returns the names and the values, not encoded, in the order they are sent.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

fn join_encoded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        push_encoded(&mut query, value);
    }
    query
}

/// Appends a text with every byte outside RFC 3986's unreserved set as `%` and two upper-case hex digits.
pub fn push_encoded(query: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes percent-encoding, as a server does.
    fn decode(text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            if *first == b'%' {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &tail[2..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        Some(bytes)
    }

    #[test]
    fn a_query_has_the_parameters_in_order_and_encoded() {
        let parameters = Parameters::new()
            .with("symbol", "BTCUSDT")
            .with_optional("price", None::<&str>)
            .with("symbols", r#"["BTCUSDT"]"#)
            .with("newClientOrderId", "BN-0_a~b c+ü");
        assert_eq!(
            parameters.to_query(),
            "symbol=BTCUSDT&symbols=%5B%22BTCUSDT%22%5D&newClientOrderId=BN-0_a~b%20c%2B%C3%BC"
        );
        assert_eq!(
            Parameters::new()
                .with("timestamp", 7)
                .with("apiKey", "k")
                .to_sorted_query(),
            "apiKey=k&timestamp=7"
        );
    }

    proptest! {
        #[test]
        fn encoded_text_has_only_unreserved_bytes_and_decodes_to_itself(text in any::<String>()) {
            let mut encoded = String::new();
            push_encoded(&mut encoded, &text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte)));
            prop_assert_eq!(decode(&encoded), Some(text.into_bytes()));
        }

        #[test]
        fn a_query_has_one_separator_between_any_two_parameters(values in prop::collection::vec(any::<String>(), 1..6)) {
            let mut parameters = Parameters::new();
            for value in &values {
                parameters = parameters.with("name", value);
            }
            let query = parameters.to_query();
            let read: Vec<Vec<u8>> = query
                .split('&')
                .map(|pair| decode(pair.strip_prefix("name=").unwrap()).unwrap())
                .collect();
            let written: Vec<Vec<u8>> = values.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(read, written);
        }
    }
}
