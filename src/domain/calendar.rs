//! The trading calendar: which day a moment belongs to, by a time zone and a time of day at which days begin.

use jiff::ToSpan;
use jiff::civil::Time;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::domain::time::{Timestamp, TradingDate};

/// How a setting writes the beginning of a day.
const DAY_START_FORMAT: &str = "%H:%M";
/// How many days the date of a moment lies from its date on the wall at most. A day may begin at any time of the wall's
/// day, and zones at the date line have skipped and repeated whole days.
const MAX_DATE_OFFSET_DAYS: usize = 3;

/// When trading days begin. A trading day has the date of the wall's day it begins on and lasts until the next begins,
/// 23 or 25 hours where clocks change.
///
/// A beginning that the clock skips is as much later as the clock was set forward; one that it shows twice is the first
/// of the two (RFC 5545 §3.3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradingCalendar {
    time_zone: TimeZone,
    day_start: Time,
}

/// Why there is no such calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// No time zone of that name is known.
    #[error("must be the IANA name of a time zone, such as \"UTC\" or \"America/New_York\"")]
    UnknownTimeZone,
    /// Not a time of day.
    #[error("must be a time of day such as \"00:00\" or \"17:30\"")]
    InvalidTimeOfDay,
}

impl TradingCalendar {
    /// Returns the calendar of the days that begin at midnight in UTC.
    pub fn utc() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            day_start: Time::midnight(),
        }
    }

    /// Returns the calendar of the days that begin at `begins` (`HH:MM`) in a time zone.
    ///
    /// # Errors
    /// When one of the two is not known.
    pub fn new(time_zone: &str, day_start: &str) -> Result<Self, CalendarError> {
        Ok(Self {
            time_zone: find_time_zone(time_zone)?,
            day_start: parse_time_of_day(day_start)?,
        })
    }

    /// Returns the date of the trading day that a moment belongs to.
    pub fn trading_date_at(&self, at: Timestamp) -> TradingDate {
        let on_the_wall = at.to_jiff().to_zoned(self.time_zone.clone()).date();
        let latest = TradingDate(on_the_wall.tomorrow().unwrap_or(on_the_wall));
        let mut date = latest;
        for _ in 0..=MAX_DATE_OFFSET_DAYS {
            if self.start_of(date) <= at {
                return date;
            }
            date = date.previous();
        }
        date
    }

    /// Returns the moment a trading day begins.
    pub fn start_of(&self, date: TradingDate) -> Timestamp {
        let begins = self.time_zone.to_ambiguous_zoned(date.0.to_datetime(self.day_start));
        // Past the range of dates there is no day to begin.
        begins
            .compatible()
            .map_or(Timestamp::MAX, |begins| Timestamp::from_jiff(begins.timestamp()))
    }

    /// Returns the moment a trading day ends, which is when the next begins.
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
/// When no zone of that name is known.
pub fn validate_time_zone(name: &str) -> Result<(), CalendarError> {
    find_time_zone(name).map(|_| ())
}

/// Checks a time of day.
///
/// # Errors
/// When it is none.
pub fn validate_day_start(text: &str) -> Result<(), CalendarError> {
    parse_time_of_day(text).map(|_| ())
}

/// Finds a zone in the rules that were built in: all workers of one build agree on them, and a container needs none.
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
    // The library's own reading takes spaces and single digits, too.
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
    fn a_day_has_the_date_it_begins_on() {
        // zone, beginning, moment → date
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
            // Samoa had no 30 December 2011: whoever looks finds the 31st.
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
    fn days_are_shorter_and_longer_where_clocks_change() {
        // zone, beginning, date → begins, hours
        for (zone, begins, date, begin, hours) in [
            ("America/New_York", "00:00", "2026-03-08", "2026-03-08T05:00:00Z", 23),
            ("America/New_York", "00:00", "2026-11-01", "2026-11-01T04:00:00Z", 25),
            ("Europe/Berlin", "00:00", "2026-03-29", "2026-03-28T23:00:00Z", 23),
            ("Europe/Berlin", "00:00", "2026-10-25", "2026-10-24T22:00:00Z", 25),
            // 02:30 is skipped: the day begins at 03:30 by the new time.
            ("America/New_York", "02:30", "2026-03-08", "2026-03-08T07:30:00Z", 23),
            ("America/New_York", "02:30", "2026-03-07", "2026-03-07T07:30:00Z", 24),
            ("Europe/Berlin", "02:30", "2026-03-29", "2026-03-29T01:30:00Z", 23),
            // 02:30 comes twice in Berlin: the first counts, and the day before is a whole one.
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
    fn what_is_no_zone_and_no_time_is_refused() {
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
    fn the_last_day_of_all_does_not_end() {
        let calendar = TradingCalendar::new("Pacific/Kiritimati", "23:59").unwrap();
        assert_eq!(calendar.end_of(day("9999-12-31")), Timestamp::MAX);
    }

    proptest! {
        #[test]
        fn dates_never_go_back_and_days_follow_each_other(
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
