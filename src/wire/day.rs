//! The beginning of a trading day, as the journal keeps it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::daily_pnl::DayStartEquity;
use crate::domain::decimal::Decimal;
use crate::domain::equity::Equities;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::{Micros, Rounding};
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::time::{Timestamp, TradingDate};
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};

/// The journal's record of a day's beginning (`orders.events.day._`): daily figures count from here on. The first one of
/// a date counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayEvent {
    /// The day that begins.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// What accounts were worth then, one entry per mode.
    pub starts: Vec<ModeDayStart>,
    /// When it was taken.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// What the accounts of one mode were worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DayStartOfMode")]
pub struct ModeDayStart {
    /// The mode.
    pub mode: Mode,
    /// What all accounts were worth together, from the net totals per symbol, in the base currency; null where a price
    /// was missing.
    #[schemars(with = "Option<PlainNumber>")]
    pub total: Option<Decimal>,
    /// What each account was worth, in the base currency; null where a price was missing. One that is not in it was
    /// worth nothing.
    #[schemars(with = "BTreeMap<String, Option<PlainNumber>>")]
    pub accounts: BTreeMap<String, Option<Decimal>>,
    /// The prices that positions were marked at.
    pub marks: Vec<DayMark>,
}

/// A price that positions were marked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayMark {
    /// The venue.
    pub venue: String,
    /// The symbol.
    pub symbol: String,
    /// The price.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
}

/// A day's start on the journal that cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the start of the trading day {0} holds an account or an amount that is none")]
pub struct DayEventError(pub TradingDate);

impl ModeDayStart {
    /// Returns what the journal keeps of a mode's start.
    pub fn of(mode: Mode, start: &DayStartEquity, marks: &BTreeMap<(VenueId, Symbol), Price>) -> Self {
        let account =
            |(account, equity): (&AccountId, &Option<Micros>)| (account.to_string(), equity.map(Micros::decimal));
        let mark = |((venue, symbol), price): (&(VenueId, Symbol), &Price)| DayMark {
            venue: venue.to_string(),
            symbol: symbol.to_string(),
            price: price.decimal(),
        };
        Self {
            mode,
            total: start.total_remainder.and(start.total()).map(Micros::decimal),
            accounts: start.accounts.iter().map(account).collect(),
            marks: marks.iter().map(mark).collect(),
        }
    }

    fn to_day_start(&self) -> Option<DayStartEquity> {
        let amount = |amount: Option<Decimal>| match amount {
            None => Some(None),
            Some(amount) => Micros::from_decimal(amount, Rounding::Down).map(Some),
        };
        let account =
            |(name, equity): (&String, &Option<Decimal>)| Some((AccountId::new(name).ok()?, amount(*equity)?));
        let accounts: Option<BTreeMap<_, _>> = self.accounts.iter().map(account).collect();
        let equities = Equities {
            total: amount(self.total)?,
            accounts: accounts?,
        };
        Some(DayStartEquity::from_equities(&equities))
    }
}

impl DayEvent {
    /// Returns what accounts were worth, by mode.
    ///
    /// # Errors
    /// When it holds something that cannot be counted.
    pub fn to_day_starts(&self) -> Result<Vec<(Mode, DayStartEquity)>, DayEventError> {
        let start = |one: &ModeDayStart| Some((one.mode, one.to_day_start()?));
        let starts: Option<Vec<_>> = self.starts.iter().map(start).collect();
        starts.ok_or(DayEventError(self.trading_date))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_comes_back_from_the_journal_as_it_was() {
        let micros = |units| Micros::new(units).unwrap();
        let account = |name| AccountId::new(name).unwrap();
        for beyond in [Some(micros(2)), None] {
            let start = DayStartEquity {
                accounts: [
                    (account("a"), Some(micros(-100_000_001))),
                    (account("b"), None),
                    (account("c"), Some(micros(7))),
                ]
                .into(),
                total_remainder: beyond,
            };
            let event = DayEvent {
                trading_date: TradingDate::parse("2026-03-02").unwrap(),
                starts: vec![ModeDayStart::of(Mode::Paper, &start, &BTreeMap::new())],
                timestamp: Timestamp::now(),
            };
            let read: DayEvent = serde_json::from_slice(&serde_json::to_vec(&event).unwrap()).unwrap();
            assert_eq!(read.to_day_starts().unwrap(), [(Mode::Paper, start)]);
        }
        let text = r#"{"trading_date":"2026-03-02","starts":[{"mode":"paper","total":1e12,"accounts":{},"marks":[]}],"timestamp":"2026-03-02T00:00:00Z"}"#;
        let event: DayEvent = serde_json::from_str(text).unwrap();
        assert_eq!(event.to_day_starts(), Err(DayEventError(event.trading_date)));
    }
}
