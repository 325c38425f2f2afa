//! The trading calendar: the trading day of a moment, by a time zone and the time of day at which days begin.

use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Time;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::domain::time::{Timestamp, TradingDate};

/// The format of the start of a day in the settings.
const DAY_START_FORMAT: &str = "%H:%M";
/// The largest difference between a moment's trading date and its local date, in days. A trading day may begin at any local
/// time, and zones at the date line have skipped and repeated whole days.
const MAX_DATE_OFFSET_DAYS: usize = 3;

/// When trading days begin. A trading day has the local date on which it begins, and lasts until the next one begins: 23 or
/// 25 hours where clocks change.
///
/// A start that the clock skips moves later by the length of the gap. Of a start that occurs twice, the first counts
/// (RFC 5545 §3.3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradingCalendar {
    time_zone: TimeZone,
    day_start: Time,
}

/// Returns the calendar in force: it may change while a program runs.
pub type CalendarSource = Arc<dyn Fn() -> TradingCalendar + Send + Sync>;

/// Why settings do not give a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The name is not that of a known time zone.
    #[error("must be the IANA name of a time zone, such as \"UTC\" or \"America/New_York\"")]
    UnknownTimeZone,
    /// The text is not a time of day.
    #[error("must be a time of day such as \"00:00\" or \"17:30\"")]
    InvalidTimeOfDay,
}

impl TradingCalendar {
    /// Returns the calendar whose days begin at midnight in UTC.
    pub fn utc() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            day_start: Time::midnight(),
        }
    }

    /// Returns the calendar whose days begin at `day_start` (`HH:MM`) in a time zone.
    ///
    /// # Errors
    /// When the time zone is unknown, or the start is not a time of day.
    pub fn new(time_zone: &str, day_start: &str) -> Result<Self, CalendarError> {
        Ok(Self {
            time_zone: find_time_zone(time_zone)?,
            day_start: parse_time_of_day(day_start)?,
        })
    }

    /// Returns the trading date of a moment.
    pub fn trading_date_at(&self, at: Timestamp) -> TradingDate {
        let local_date = at.to_jiff().to_zoned(self.time_zone.clone()).date();
        let latest = TradingDate(local_date.tomorrow().unwrap_or(local_date));
        let mut date = latest;
        for _ in 0..=MAX_DATE_OFFSET_DAYS {
            if self.start_of(date) <= at {
                return date;
            }
            date = date.previous();
        }
        date
    }

    /// Returns the start of a trading day.
    pub fn start_of(&self, date: TradingDate) -> Timestamp {
        let start = self.time_zone.to_ambiguous_zoned(date.0.to_datetime(self.day_start));
        // A start beyond the range of timestamps counts as the latest one.
        start
            .compatible()
            .map_or(Timestamp::MAX, |start| Timestamp::from_jiff(start.timestamp()))
    }

    /// Returns the end of a trading day: the start of the next one.
    pub fn end_of(&self, date: TradingDate) -> Timestamp {
        match date.0.checked_add(1.day()) {
            Ok(next) => self.start_of(TradingDate(next)),
            Err(_) => Timestamp::MAX,
        }
    }
}

/// Checks the name of a time zone.
///
/// # Errors
/// When the time zone is unknown.
pub fn validate_time_zone(name: &str) -> Result<(), CalendarError> {
    find_time_zone(name).map(|_| ())
}

/// Checks a time of day.
///
/// # Errors
/// When the text is not a time of day such as `17:30`.
pub fn validate_day_start(text: &str) -> Result<(), CalendarError> {
    parse_time_of_day(text).map(|_| ())
}

/// Finds a zone in the built-in database: all workers of one build have the same rules, and a container needs no time zone
/// files.
fn find_time_zone(name: &str) -> Result<TimeZone, CalendarError> {
    let zone = TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| CalendarError::UnknownTimeZone)?;
    if zone.is_unknown() {
        return Err(CalendarError::UnknownTimeZone);
    }
    Ok(zone)
}

fn parse_time_of_day(text: &str) -> Result<Time, CalendarError> {
    // The library's parser also accepts spaces and single digits.
    let is_plain = |(at, byte): (usize, u8)| if at == 2 { byte == b':' } else { byte.is_ascii_digit() };
    if text.len() != "HH:MM".len() || !text.bytes().enumerate().all(is_plain) {
        return Err(CalendarError::InvalidTimeOfDay);
    }
    Time::strptime(DAY_START_FORMAT, text).map_err(|_| CalendarError::InvalidTimeOfDay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn day(text: &str) -> TradingDate {
        TradingDate::parse(text).unwrap()
    }

    #[test]
    fn trading_date_is_the_local_date_of_its_start() {
        // zone, start, moment → date
        for (zone, begins, moment, date) in [
            ("UTC", "00:00", "2026-03-02T00:00:00Z", "2026-03-02"),
            ("UTC", "00:00", "2026-03-01T23:59:59.999999Z", "2026-03-01"),
            ("UTC", "17:00", "2026-03-02T16:59:59.999999Z", "2026-03-01"),
            ("UTC", "17:00", "2026-03-02T17:00:00Z", "2026-03-02"),
            ("America/New_York", "17:00", "2026-01-15T21:59:59Z", "2026-01-14"),
            ("America/New_York", "17:00", "2026-01-15T22:00:00Z", "2026-01-15"),
            ("America/New_York", "17:00", "2026-07-15T21:00:00Z", "2026-07-15"),
            ("Asia/Tokyo", "00:00", "2026-03-01T15:00:00Z", "2026-03-02"),
            ("Pacific/Kiritimati", "00:00", "2026-03-01T10:00:00Z", "2026-03-02"),
            ("Pacific/Pago_Pago", "23:59", "2026-03-01T10:58:00Z", "2026-02-27"),
            // Samoa had no 30 December 2011: the 31st follows the 29th.
            ("Pacific/Apia", "00:00", "2011-12-30T09:59:59Z", "2011-12-29"),
            ("Pacific/Apia", "00:00", "2011-12-30T10:00:00Z", "2011-12-31"),
        ] {
            let calendar = TradingCalendar::new(zone, begins).unwrap();
            assert_eq!(
                calendar.trading_date_at(at(moment)),
                day(date),
                "{zone} {begins} {moment}"
            );
        }
    }

    #[test]
    fn days_have_23_or_25_hours_where_clocks_change() {
        // zone, start of day, date → start, hours
        for (zone, begins, date, begin, hours) in [
            ("America/New_York", "00:00", "2026-03-08", "2026-03-08T05:00:00Z", 23),
            ("America/New_York", "00:00", "2026-11-01", "2026-11-01T04:00:00Z", 25),
            ("Europe/Berlin", "00:00", "2026-03-29", "2026-03-28T23:00:00Z", 23),
            ("Europe/Berlin", "00:00", "2026-10-25", "2026-10-24T22:00:00Z", 25),
            // 02:30 is skipped: the day begins at 03:30 by the new time.
            ("America/New_York", "02:30", "2026-03-08", "2026-03-08T07:30:00Z", 23),
            ("America/New_York", "02:30", "2026-03-07", "2026-03-07T07:30:00Z", 24),
            ("Europe/Berlin", "02:30", "2026-03-29", "2026-03-29T01:30:00Z", 23),
            // 02:30 occurs twice in Berlin: the first counts, and the day before has 24 hours.
            ("Europe/Berlin", "02:30", "2026-10-25", "2026-10-25T00:30:00Z", 25),
            ("Europe/Berlin", "02:30", "2026-10-24", "2026-10-24T00:30:00Z", 24),
            ("America/New_York", "01:30", "2026-11-01", "2026-11-01T05:30:00Z", 25),
        ] {
            let calendar = TradingCalendar::new(zone, begins).unwrap();
            assert_eq!(calendar.start_of(day(date)), at(begin), "{zone} {begins} {date}");
            let span = calendar
                .end_of(day(date))
                .saturating_duration_since(calendar.start_of(day(date)));
            assert_eq!(span.as_secs(), hours * 3_600, "{zone} {begins} {date}");
        }
    }

    #[test]
    fn unknown_zone_or_invalid_time_is_refused() {
        for zone in [
            "",
            "Mars/Olympus",
            "EST5EDT,M3.2.0,M11.1.0",
            "+01:00",
            "Etc/Unknown",
            "../etc",
        ] {
            assert_eq!(
                TradingCalendar::new(zone, "00:00"),
                Err(CalendarError::UnknownTimeZone),
                "{zone:?}"
            );
        }
        for begins in [
            "", "24:00", "7:30", "07:60", "07:30:00", "07.30", "-7:30", "+7:30", " 7:30", "07:3", "noon",
        ] {
            assert_eq!(
                TradingCalendar::new("UTC", begins),
                Err(CalendarError::InvalidTimeOfDay),
                "{begins:?}"
            );
        }
        assert_eq!(TradingCalendar::new("UTC", "00:00"), Ok(TradingCalendar::utc()));
    }

    #[test]
    fn last_day_of_the_calendar_has_no_end() {
        let calendar = TradingCalendar::new("Pacific/Kiritimati", "23:59").unwrap();
        assert_eq!(calendar.end_of(day("9999-12-31")), Timestamp::MAX);
    }

    proptest! {
        #[test]
        fn dates_never_decrease_and_days_are_contiguous(
            zone in prop::sample::select(vec![
                "UTC", "America/New_York", "Europe/Berlin", "Asia/Tokyo", "Pacific/Apia", "Pacific/Kiritimati",
                "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "Asia/Kathmandu",
            ]),
            (hour, minute) in (0..24u8, 0..60u8),
            from_s in 0..4_000_000_000i64,
            step_s in 0..200_000i64,
        ) {
            let calendar = TradingCalendar::new(zone, &format!("{hour:02}:{minute:02}")).unwrap();
            let earlier = Timestamp::from_milliseconds(from_s * 1_000);
            let later = Timestamp::from_milliseconds((from_s + step_s) * 1_000);
            let date = calendar.trading_date_at(earlier);
            prop_assert!(date <= calendar.trading_date_at(later));
            let (begin, end) = (calendar.start_of(date), calendar.end_of(date));
            prop_assert!(begin <= earlier && earlier < end, "{date}: {begin} {earlier} {end}");
            prop_assert!(calendar.trading_date_at(end) > date);
            prop_assert_eq!(calendar.trading_date_at(Timestamp::from_milliseconds(end.as_milliseconds() - 1)), date);
            prop_assert_eq!(calendar.trading_date_at(begin), date);
        }
    }
}
