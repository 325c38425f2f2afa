//! The text format of Prometheus, version 0.0.4: how names, labels and numbers are written.

use std::fmt::Write;
use std::time::Duration;

use super::table::Unit;

/// The media type of what is rendered.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const MILLION: u64 = 1_000_000;

/// Returns labels with their values, without the braces. A name without a value has an empty one.
pub(super) fn labels(names: &[&str], values: &[&str]) -> String {
    let mut text = String::new();
    for (place, name) in names.iter().enumerate() {
        let separator = if place == 0 { "" } else { "," };
        let value = values.get(place).copied().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// Returns labels in their braces; nothing where there is none.
pub(super) fn braces(labels: &str) -> String {
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    }
}

/// Returns a help text on one line.
pub(super) fn help(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

/// Returns a value as it is held, in its unit.
pub(super) fn number(value: u64, unit: Unit) -> String {
    if !unit.is_in_millionths() {
        return value.to_string();
    }
    let (whole, fraction) = (value / MILLION, value % MILLION);
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:06}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// Returns a duration in seconds.
pub(super) fn seconds(duration: Duration) -> String {
    number(super::micros(duration), Unit::Seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_labels_cannot_break_out() {
        for (value, unit, written) in [
            (7, Unit::One, "7"),
            (u64::MAX, Unit::Bytes, "18446744073709551615"),
            (50, Unit::Seconds, "0.00005"),
            (1_000_000, Unit::Ratio, "1"),
            (12_340_000, Unit::Ratio, "12.34"),
        ] {
            assert_eq!(number(value, unit), written);
        }
        assert_eq!(labels(&["a", "b"], &["x\"y\\z\n"]), r#"a="x\"y\\z\n",b="""#);
        assert_eq!((braces(""), help("a\nb")), (String::new(), "a\\nb".to_owned()));
    }
}
