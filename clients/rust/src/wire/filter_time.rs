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

/// Completes a time to RFC 3339, which checks it.
fn parse_filter_time(text: &str, clock_of_date: &str) -> Result<Timestamp, FilterTimeError> {
    let (date, rest) = text.split_at_checked("0000-00-00".len()).ok_or(FilterTimeError)?;
    let rest = match rest {
        "" => clock_of_date,
        _ => rest.strip_prefix(['T', 't', ' ']).ok_or(FilterTimeError)?,
    };
    let (clock, offset) = rest.split_at(rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len()));
    if clock.len() > "00:00:00.000000000".len() {
        return Err(FilterTimeError);
    }
    let seconds = if clock.len() == "00:00".len() { ":00" } else { "" };
    let (sign, distance) = match offset {
        "" => ("Z", ""),
        _ => offset
            .strip_prefix(' ')
            .map_or(("", offset), |distance| ("+", distance)),
    };
    Timestamp::parse(&format!("{date}T{clock}{seconds}{sign}{distance}")).map_err(|_| FilterTimeError)
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
