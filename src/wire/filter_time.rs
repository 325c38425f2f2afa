//! Times in the filters of lists. A filter changes nothing, so it takes more than RFC 3339: a date, a time without an
//! offset (UTC), a time without seconds, a space in the place of the `T`, and a `+` that arrived as a space because it was
//! not percent-encoded.

use crate::domain::time::Timestamp;

/// The error of a text that is not a time in a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an RFC 3339 timestamp such as 2026-01-31T09:30:00Z, a time without an offset such as 2026-01-31T09:30:00 \
     (UTC), or a date such as 2026-01-31 (UTC)"
)]
pub struct FilterTimeError;

/// Parses the earliest time of a filter. A date is its beginning.
///
/// # Errors
/// When the text is not a time or a date.
pub fn parse_filter_start(text: &str) -> Result<Timestamp, FilterTimeError> {
    parse_filter_time(text, "00:00:00")
}

/// Parses the latest time of a filter, which is included. A date is its last microsecond.
///
/// # Errors
/// When the text is not a time or a date.
pub fn parse_filter_end(text: &str) -> Result<Timestamp, FilterTimeError> {
    parse_filter_time(text, "23:59:59.999999")
}

fn parse_filter_time(text: &str, clock_of_date: &str) -> Result<Timestamp, FilterTimeError> {
    let (date, clock, offset) = split_filter_time(text, clock_of_date).ok_or(FilterTimeError)?;
    let parse = |date: &str| Timestamp::parse(&format!("{date}T{clock}{offset}"));
    match date {
        // The calendar ends on this day in some time zones: every valid time of it means no limit.
        "9999-12-30" | "9999-12-31" => parse(date).or_else(|_| parse("9999-12-29").map(|_| Timestamp::MAX)),
        _ => parse(date),
    }
    .map_err(|_| FilterTimeError)
}

/// Returns the date, the clock time with seconds, and the offset, each as RFC 3339 writes it. The values may be out of range.
fn split_filter_time<'a>(text: &'a str, clock_of_date: &str) -> Option<(&'a str, String, String)> {
    let (date, rest) = text.split_at_checked("0000-00-00".len())?;
    if !has_layout(date, "0000-00-00") {
        return None;
    }
    if rest.is_empty() {
        return Some((date, clock_of_date.to_owned(), "Z".to_owned()));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let offset_at = rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at(offset_at);
    let clock = match clock.split_once('.') {
        _ if has_layout(clock, "00:00") => format!("{clock}:00"),
        None if has_layout(clock, "00:00:00") => clock.to_owned(),
        Some((seconds, fraction)) if has_layout(seconds, "00:00:00") && is_fraction(fraction) => clock.to_owned(),
        _ => return None,
    };
    let offset = match offset {
        "" | "Z" | "z" => "Z".to_owned(),
        _ => {
            let (sign, distance) = offset.split_at(1);
            if !has_layout(distance, "00:00") || distance >= "24:00" {
                return None;
            }
            match sign {
                "+" | " " => format!("+{distance}"),
                "-" => format!("-{distance}"),
                _ => return None,
            }
        }
    };
    Some((date, clock, offset))
}

/// Reports whether a text has the length of a layout, a digit where the layout has `0`, and its other characters.
fn has_layout(text: &str, layout: &str) -> bool {
    let is_same = |(byte, expected): (u8, u8)| match expected {
        b'0' => byte.is_ascii_digit(),
        _ => byte == expected,
    };
    text.len() == layout.len() && text.bytes().zip(layout.bytes()).all(is_same)
}

fn is_fraction(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_takes_more_than_rfc_3339() {
        for (text, start, end) in [
            ("2026-03-02T09:30:00Z", "2026-03-02T09:30:00.000000Z", None),
            ("2026-03-02t09:30:00.5z", "2026-03-02T09:30:00.500000Z", None),
            ("2026-03-02T09:30:00.123456+01:00", "2026-03-02T08:30:00.123456Z", None),
            (
                "2026-03-02T09:30:00.123456789-01:00",
                "2026-03-02T10:30:00.123456Z",
                None,
            ),
            // A `+` that was not percent-encoded.
            ("2026-03-02T09:30:00 01:00", "2026-03-02T08:30:00.000000Z", None),
            ("2026-03-02 09:30:00 01:00", "2026-03-02T08:30:00.000000Z", None),
            // Python's `isoformat()` and `str()` of a naive time.
            ("2026-03-02T09:30:00", "2026-03-02T09:30:00.000000Z", None),
            ("2026-03-02T09:30:00.123456", "2026-03-02T09:30:00.123456Z", None),
            ("2026-03-02 09:30:00", "2026-03-02T09:30:00.000000Z", None),
            ("2026-03-02T09:30", "2026-03-02T09:30:00.000000Z", None),
            (
                "2026-03-02",
                "2026-03-02T00:00:00.000000Z",
                Some("2026-03-02T23:59:59.999999Z"),
            ),
            // Python's `datetime.min`, and times near the end of the calendar.
            ("0001-01-01T00:00:00", "0001-01-01T00:00:00.000000Z", None),
            ("9999-12-29T23:59:59Z", "9999-12-29T23:59:59.000000Z", None),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999Z", None),
            ("9999-12-31T23:59:59.999999", "9999-12-30T22:00:00.999999Z", None),
            (
                "9999-12-31",
                "9999-12-30T22:00:00.999999Z",
                Some("9999-12-30T22:00:00.999999Z"),
            ),
        ] {
            assert_eq!(
                parse_filter_start(text).map(|at| at.to_string()).as_deref(),
                Ok(start),
                "{text}"
            );
            let end = end.unwrap_or(start);
            assert_eq!(
                parse_filter_end(text).map(|at| at.to_string()).as_deref(),
                Ok(end),
                "{text}"
            );
        }
    }

    #[test]
    fn filter_refuses_what_has_several_readings() {
        for text in [
            "",
            "yesterday",
            "1772443800",
            "2026-3-2",
            "2026-02-30",
            "2026-13-01T00:00:00Z",
            "2026-03-02T",
            "2026-03-02T09",
            "2026-03-02T24:00:00Z",
            "2026-03-02T09:30:00.Z",
            "2026-03-02T09:30.5Z",
            "2026-03-02T09:30:00+24:00",
            "2026-03-02T09:30:00+01:60",
            "2026-03-02T09:30:00Z01:00",
            "2026-03-02T09:30:00+0100",
            "2026-03-02T09:30:00Z[America/New_York]",
            "2026-03-02T09:30:00Z ",
            " 2026-03-02",
            "20260302T093000Z",
            "+002026-03-02",
            "9999-12-31T25:00:00Z",
            "02.03.2026",
            "２０２６-03-02",
        ] {
            assert_eq!(parse_filter_start(text), Err(FilterTimeError), "{text:?}");
            assert_eq!(parse_filter_end(text), Err(FilterTimeError), "{text:?}");
        }
    }
}
