//! Texts for terminals.

use crate::domain::time::Timestamp;

/// Returns a time to the millisecond: a table has no room for more.
pub(crate) fn format_time(at: Timestamp) -> String {
    let text = at.to_string();
    let cut = text.trim_end_matches('Z').split_once('.');
    let cut = cut.and_then(|(seconds, fraction)| Some(format!("{seconds}.{}Z", fraction.get(..3)?)));
    cut.unwrap_or(text)
}

/// Returns a value as text, or a dash where there is none.
pub(crate) fn text_or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Returns a count with its digits in groups of three.
pub(crate) fn group_digits(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Returns a text with its control characters replaced by `?`: a text from elsewhere may hold escape sequences.
pub(crate) fn strip_control_characters(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_and_times_are_cut() {
        for (count, text) in [(0, "0"), (999, "999"), (4_711, "4 711"), (1_234_567, "1 234 567")] {
            assert_eq!(group_digits(count), text);
        }
        let at = Timestamp::parse("2026-03-01T10:00:00.123987+01:00").unwrap();
        assert_eq!(format_time(at), "2026-03-01T09:00:00.123Z");
    }
}
