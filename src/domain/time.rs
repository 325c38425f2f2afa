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

    /// Parses an RFC 3339 timestamp with any offset.
    ///
    /// # Errors
    /// When the text is not an RFC 3339 timestamp.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let at: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        Ok(Self(at.as_microsecond()))
    }

    /// Returns the point in time `span` later, at most [`Timestamp::MAX`].
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
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

    pub(super) fn from_jiff(at: jiff::Timestamp) -> Self {
        Self(at.as_microsecond())
    }

    pub(super) fn to_jiff(self) -> jiff::Timestamp {
        // Beyond the calendar, the nearest point within it.
        let nearest = if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        };
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(nearest)
    }
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
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// The date of a trading day, which daily sums and limits count towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TradingDate(pub(super) jiff::civil::Date);

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
        Self(jiff::civil::date(1970, 1, 1)).days_until(self)
    }

    /// Returns the number of days from this date to `other`; negative when `other` is earlier.
    pub fn days_until(self, other: Self) -> i64 {
        self.0
            .until(other.0)
            .map_or(i64::MAX, |span| i64::from(span.get_days()))
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
}
