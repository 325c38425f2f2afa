//! Paths with a query, as REST requests use them.

/// Returns a path with its parameters; those without a value are left out.
pub(crate) fn path_with_query(
    path: &str,
    parameters: impl IntoIterator<Item = (&'static str, Option<String>)>,
) -> String {
    let parameters = parameters
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", percent_encode(&value?))));
    let query: Vec<String> = parameters.collect();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", query.join("&"))
    }
}

/// Returns a parameter's value as text, where there is one.
pub(crate) fn parameter_value(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// Returns a text percent-encoded as a parameter's value.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_cannot_add_a_parameter() {
        let parameters = [
            ("rule_id", Some("max_notional&limit=1 é".to_owned())),
            ("level", None),
            ("limit", parameter_value(Some(7))),
        ];
        assert_eq!(
            path_with_query("/risk/alerts", parameters),
            "/risk/alerts?rule_id=max_notional%26limit%3D1%20%C3%A9&limit=7"
        );
        assert_eq!(path_with_query("/positions", [("account_id", None)]), "/positions");
    }
}
