//! JSON with its numbers as strings, for clients whose only number is a 64-bit float.

/// Returns a JSON text with each number in double quotes, every other byte unchanged.
pub(in crate::sidecar) fn quote_numbers(json: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(json.len() + json.len() / 4);
    let mut rest = json;
    while let Some(&first) = rest.first() {
        let is_number = first == b'-' || first.is_ascii_digit();
        let length = match first {
            b'"' => string_length(rest),
            _ if is_number => number_length(rest),
            _ => 1,
        };
        let (token, after) = rest.split_at(length);
        if is_number {
            quoted.push(b'"');
        }
        quoted.extend_from_slice(token);
        if is_number {
            quoted.push(b'"');
        }
        rest = after;
    }
    quoted
}

/// Returns the length of the string at the beginning of a JSON text, its quotes included.
fn string_length(json: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = json.iter().skip(1).position(|&byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(json.len(), |end| end + 2)
}

/// Returns the length of the number at the beginning of a JSON text.
fn number_length(json: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"-+.eE".contains(byte);
    json.iter().position(|byte| !is_part(byte)).unwrap_or(json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_quoted_and_every_other_byte_is_unchanged() {
        for (json, expected) in [
            (
                r#"{"a":0.10000000000000000001,"b":[-1,2e+5 , null,true]}"#,
                r#"{"a":"0.10000000000000000001","b":["-1","2e+5" , null,true]}"#,
            ),
            (r#"{"1":"2","a\"3":"\\","b":4}"#, r#"{"1":"2","a\"3":"\\","b":"4"}"#),
            ("17", r#""17""#),
            ("", ""),
            (r#"{"ü-1":"−1, 2"}"#, r#"{"ü-1":"−1, 2"}"#),
        ] {
            assert_eq!(String::from_utf8(quote_numbers(json.as_bytes())).unwrap(), expected);
        }
    }
}
