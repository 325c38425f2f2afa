//! Points in time, to the microsecond, in UTC; and trading dates.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time in microseconds since 1970-01-01T00:00:00Z, written as RFC 3339 with six decimals and `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Returns the present moment.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The length of a date and a time in RFC 3339, up to the second.
const SECONDS_LENGTH: usize = "2026-01-31T09:30:00".len();
/// The length of the form that [`Timestamp`] writes.
const OWN_FORM_LENGTH: usize = "2026-01-31T09:30:00.000000Z".len();
/// The number of decimals of a second that are read; further ones are ignored.
const MAX_READ_DECIMALS: usize = 9;

/// The error of a text that is not an RFC 3339 timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 timestamp such as 2026-01-31T09:30:00Z")]
pub struct TimestampError;

impl Timestamp {
    /// The latest timestamp, after every event.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns the present moment by this machine's clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    /// Returns the point in time `milliseconds` after 1970-01-01T00:00:00Z.
    pub fn from_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds.saturating_mul(1_000))
    }

    /// Returns the whole milliseconds since 1970-01-01T00:00:00Z, rounded down.
    pub fn as_milliseconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Returns the point in time `microseconds` after 1970-01-01T00:00:00Z.
    pub fn from_microseconds(microseconds: i64) -> Self {
        Self(microseconds)
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z.
    pub fn as_microseconds(self) -> i64 {
        self.0
    }

    /// Parses an RFC 3339 timestamp with any offset, strictly: ISO 8601 has more forms, and two readers of such a form may
    /// understand two deadlines. A time beyond the end of the calendar, in the year 9999, is [`Timestamp::MAX`].
    ///
    /// # Errors
    /// When the text is not an RFC 3339 timestamp.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        if let Some(at) = parse_own_form(text.as_bytes()) {
            return Ok(at);
        }
        let (local_time, offset_minutes) = split_offset(text).ok_or(TimestampError)?;
        let local_time: jiff::civil::DateTime = local_time.parse().map_err(|_| TimestampError)?;
        let offset = jiff::tz::Offset::from_seconds(offset_minutes * 60).map_err(|_| TimestampError)?;
        let at = offset.to_timestamp(local_time);
        Ok(at.map_or(Self::MAX, |at| Self(at.as_microsecond())))
    }

    /// Returns the point in time `span` later, at most [`Timestamp::MAX`].
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the point in time `span` earlier.
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the time since `earlier`; zero when `earlier` is not before this point.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns the calendar date in UTC.
    pub fn utc_date(self) -> TradingDate {
        TradingDate(self.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date())
    }

    /// Returns the point of time of a [`jiff::Timestamp`], rounded to the microsecond towards the epoch.
    pub fn from_jiff(at: jiff::Timestamp) -> Self {
        Self(at.as_microsecond())
    }

    /// Returns the point of time as a [`jiff::Timestamp`]: beyond the calendar, the nearest one within it.
    pub fn to_jiff(self) -> jiff::Timestamp {
        // Beyond the calendar, the nearest point within it.
        let nearest = if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        };
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(nearest)
    }
}

/// Parses the form that [`Timestamp`] writes, as nearly all are: six decimals and `Z`. Returns `None` for any other text and
/// for a time beyond the calendar: the general parser reads it or refuses it.
fn parse_own_form(text: &[u8]) -> Option<Timestamp> {
    let text: &[u8; OWN_FORM_LENGTH] = text.try_into().ok()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', rest @ ..] = text else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2, b'.', decimals @ .., b'Z'] = rest else {
        return None;
    };
    let part = |digits: &[u8]| i8::try_from(read_digits(digits)?).ok();
    let (month, day) = (part(&[*m1, *m2])?, part(&[*d1, *d2])?);
    let (hour, minute, second) = (part(&[*h1, *h2])?, part(&[*n1, *n2])?, part(&[*s1, *s2])?);
    let year = i16::try_from(read_digits(&[*y1, *y2, *y3, *y4])?).ok()?;
    let nanoseconds = read_digits(decimals)? * 1_000;
    let local_time = jiff::civil::DateTime::new(year, month, day, hour, minute, second, nanoseconds).ok()?;
    let at = jiff::tz::Offset::UTC.to_timestamp(local_time).ok()?;
    Some(Timestamp(at.as_microsecond()))
}

/// Parses the form that [`TradingDate`] writes, as nearly all are. Returns `None` for any other text and for a date that does
/// not exist: the general parser reads it or refuses it.
fn parse_own_date(text: &[u8]) -> Option<jiff::civil::Date> {
    let [year @ .., b'-', m1, m2, b'-', d1, d2] = text else {
        return None;
    };
    let year: &[u8; 4] = year.try_into().ok()?;
    let part = |digits: &[u8]| i8::try_from(read_digits(digits)?).ok();
    let year = i16::try_from(read_digits(year)?).ok()?;
    jiff::civil::Date::new(year, part(&[*m1, *m2])?, part(&[*d1, *d2])?).ok()
}

/// Returns the number of at most nine decimal digits; `None` where a byte is none.
fn read_digits(digits: &[u8]) -> Option<i32> {
    let add = |number: i32, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + i32::from(digit - b'0'));
    digits.iter().try_fold(0, add)
}

/// Splits an RFC 3339 timestamp into its local date and time, with at most [`MAX_READ_DECIMALS`] decimals, and its offset
/// from UTC in minutes. Returns `None` for any other text; ranges of date and time are not checked.
fn split_offset(text: &str) -> Option<(&str, i32)> {
    let (seconds, rest) = text.split_at_checked(SECONDS_LENGTH)?;
    let has_shape = seconds.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => matches!(byte, b'T' | b't'),
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    if !has_shape {
        return None;
    }
    let (decimals, offset) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(fraction) => {
            let decimals = fraction.bytes().take_while(u8::is_ascii_digit).count();
            (Some(decimals).filter(|count| *count > 0)?, fraction.get(decimals..)?)
        }
    };
    let local_length = match decimals.min(MAX_READ_DECIMALS) {
        0 => SECONDS_LENGTH,
        read => SECONDS_LENGTH + ".".len() + read,
    };
    Some((text.get(..local_length)?, parse_offset(offset)?))
}

/// Returns the minutes of an RFC 3339 offset: `Z`, or a sign, two digits of hours, a colon, two digits of minutes.
fn parse_offset(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let two_digits = |text: &str, bound: i32| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: i32 = text.parse().ok().filter(|_| is_plain)?;
        (number < bound).then_some(number)
    };
    let (hours, minutes) = digits.split_once(':')?;
    Some(sign * (two_digits(hours, 24)? * 60 + two_digits(minutes, 60)?))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        formatter.write_str(&PRINTER.timestamp_to_string(&self.to_jiff()))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl de::Visitor<'_> for TextVisitor {
            type Value = Timestamp;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The date of a trading day, which daily sums and limits count towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TradingDate(pub jiff::civil::Date);

impl TradingDate {
    /// Parses a date such as `2026-01-31`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// Returns the previous date, or the same at the start of the range of dates.
    pub fn previous(self) -> Self {
        Self(self.0.yesterday().unwrap_or(self.0))
    }

    /// Returns the number of days from 1970-01-01 to this date.
    pub fn days_since_1970(self) -> i64 {
        const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;
        let midnight = jiff::tz::Offset::UTC.to_timestamp(self.0.at(0, 0, 0, 0));
        // The calendar of dates ends a day after that of timestamps.
        midnight.map_or_else(
            |_| Self(jiff::civil::date(1970, 1, 1)).days_until(self),
            |midnight| midnight.as_second().div_euclid(SECONDS_OF_A_DAY),
        )
    }

    /// Returns the number of days from this date to `other`; negative when `other` is earlier.
    pub fn days_until(self, other: Self) -> i64 {
        self.0
            .until(other.0)
            .map_or(i64::MAX, |span| i64::from(span.get_days()))
    }
}

impl<'de> Deserialize<'de> for TradingDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl de::Visitor<'_> for TextVisitor {
            type Value = TradingDate;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a date string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TradingDate, E> {
                let date = parse_own_date(text.as_bytes()).map_or_else(|| text.parse(), Ok);
                date.map(TradingDate).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl fmt::Display for TradingDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_format_with_six_decimals_and_parse_offsets() {
        let at = Timestamp::parse("2026-03-01T10:00:00+01:00").unwrap();
        assert_eq!(at.to_string(), "2026-03-01T09:00:00.000000Z");
        assert_eq!(at.utc_date().to_string(), "2026-03-01");
        assert_eq!(
            at.utc_date()
                .days_until(at.saturating_add(Duration::from_secs(9 * 86_400)).utc_date()),
            9
        );
        for text in [
            "",
            "yesterday",
            "2026-03-01",
            "2026-03-01T10:00:00",
            "2026-13-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_are_counted_from_1970_over_the_whole_calendar() {
        for (date, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2026-11-30", 20_787),
            ("0000-01-01", -719_528),
            ("9999-12-31", 2_932_896),
        ] {
            let date = TradingDate::parse(date).unwrap();
            assert_eq!(date.days_since_1970(), days, "{date}");
            let counted = TradingDate(jiff::civil::date(1970, 1, 1)).days_until(date);
            assert_eq!(counted, days, "{date}");
        }
    }

    #[test]
    fn dates_are_read_as_the_general_parser_reads_them() {
        for text in [
            "2026-11-30",
            "2024-02-29",
            "2023-02-29",
            "0000-01-01",
            "9999-12-31",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "20261130",
            "2026-1-30",
            "2026-11-3",
            "2026-11-3x",
            "2026/11/30",
            "-026-11-30",
            "+002026-11-30",
            "2026-11-30Z",
            "2026-11-30T00:00:00",
            "12026-11-30",
            "",
            "-",
            " 2026-11-30",
            "2026-W48-1",
            "٢026-11-30",
        ] {
            let general = text.parse::<jiff::civil::Date>().ok().map(TradingDate);
            let read = serde_json::from_str::<TradingDate>(&format!("{text:?}")).ok();
            assert_eq!(read, general, "{text}");
        }
        assert_eq!(parse_own_date(b"2026-11-30"), Some(jiff::civil::date(2026, 11, 30)));
    }

    #[test]
    fn own_form_is_read_as_the_general_parser_reads_it() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "0000-01-01T00:00:00.000001Z",
            "2024-02-29T23:59:59.123456Z",
            "2023-02-29T00:00:00.000000Z",
            "2026-13-01T00:00:00.000000Z",
            "2026-00-10T00:00:00.000000Z",
            "2026-11-31T00:00:00.000000Z",
            "2026-11-30T24:00:00.000000Z",
            "2026-11-30T23:60:00.000000Z",
            "2016-12-31T23:59:60.000000Z",
            "9999-12-30T22:00:00.999999Z",
            "9999-12-31T23:59:59.999999Z",
            "2026-11-30T23:59:5x.000000Z",
            "2026-11-30 23:59:59.000000Z",
            "2026-11-30T23:59:59.00000+Z",
            "-026-11-30T23:59:59.000000Z",
            "2026-11-30T23:59:59.000000z",
        ] {
            // The same moment in a form that only the general parser reads.
            let general = text
                .strip_suffix(['Z', 'z'])
                .map(|local| Timestamp::parse(&format!("{local}+00:00")));
            let general = general.unwrap().ok();
            if let Some(own) = parse_own_form(text.as_bytes()) {
                assert_eq!(Some(own), general, "{text}");
            }
            assert_eq!(Timestamp::parse(text).ok(), general, "{text}");
        }
        assert!(parse_own_form(b"2024-02-29T23:59:59.123456Z").is_some());
    }

    #[test]
    fn only_rfc_3339_is_a_timestamp() {
        for (text, expected) in [
            ("2026-11-29t00:51:30z", "2026-11-29T00:51:30.000000Z"),
            ("2026-11-29T00:51:30.5Z", "2026-11-29T00:51:30.500000Z"),
            ("2026-11-29T00:51:30.1234567891234Z", "2026-11-29T00:51:30.123456Z"),
            ("2026-11-29T00:51:30-00:00", "2026-11-29T00:51:30.000000Z"),
            ("2026-11-29T00:51:30+23:59", "2026-11-28T00:52:30.000000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000000Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), expected, "{text}");
        }
        for text in [
            "20261129T005130Z",
            "2026-11-29T00:51:30+25:00",
            "2026-11-29T00:51:30+24:00",
            "2026-11-29T00:51:30+01:60",
            "2026-11-29T00:51:30+01",
            "2026-11-29T00:51:30+0100",
            "2026-11-29T00:51:30+1:00",
            "2026-11-29T00:51:30+01:00:00",
            "2026-11-29T00:51:30Z[America/New_York]",
            "+002026-11-29T00:51:30Z",
            "-002026-11-29T00:51:30Z",
            "2026-11-29 00:51:30Z",
            "2026-11-29T00:51:30,5Z",
            "2026-11-29T00:51:30.Z",
            "2026-11-29T00:51Z",
            "2026-11-29T00:51:30",
            "2026-11-29T00:51:30 Z",
            " 2026-11-29T00:51:30Z",
            "2026-11-29T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-29T00:51:3\u{660}Z",
            "2026-W48-7T00:51:30Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
