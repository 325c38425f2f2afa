//! The `DayEvent`: the journal's record of the start of a trading day.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::daily_pnl::DayStartEquity;
use crate::domain::decimal::Decimal;
use crate::domain::equity::Equities;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::money::{Micros, Rounding};
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};

/// The start of a trading day (`orders.events.day._`). The day's profit or loss of an account is its change in value since
/// then. The first event of a date counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayEvent {
    /// The trading day that starts.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// The accounts' values at the start of the day, one entry per mode.
    pub starts: Vec<ModeDayStart>,
    /// When the values were measured.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// The values of one mode's accounts at the start of a trading day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DayStartOfMode")]
pub struct ModeDayStart {
    /// The mode that the accounts hold their positions in.
    pub mode: Mode,
    /// The value of all accounts together, from the net totals per symbol, in the base currency; null if a price was
    /// missing.
    #[schemars(with = "Option<PlainNumber>")]
    pub total: Option<Decimal>,
    /// The value of each account, by account id, in the base currency; null if a price was missing. An account without an
    /// entry had the value zero.
    #[schemars(with = "BTreeMap<String, Option<PlainNumber>>")]
    pub accounts: BTreeMap<String, Option<Decimal>>,
    /// The prices that the positions were valued at.
    pub marks: Vec<DayMark>,
}

/// A price that positions were valued at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayMark {
    /// The instrument's venue.
    pub venue: String,
    /// The instrument's normalised symbol.
    pub symbol: String,
    /// The price, in the quote currency, above zero.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
}

/// A journaled start of day with an invalid account id or an amount beyond the exact range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journaled start of trading day {0} has an invalid account id or an amount out of range")]
pub struct DayEventError(pub TradingDate);

impl ModeDayStart {
    /// Returns the journal's entry for one mode: the start values, and the prices they were measured with.
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
    /// Returns the accounts' start values by mode.
    ///
    /// # Errors
    /// When an account id is invalid or an amount is beyond the exact range.
    pub fn to_day_starts(&self) -> Result<Vec<(Mode, DayStartEquity)>, DayEventError> {
        let by_mode = |entry: &ModeDayStart| Some((entry.mode, entry.to_day_start()?));
        let starts: Option<Vec<_>> = self.starts.iter().map(by_mode).collect();
        starts.ok_or(DayEventError(self.trading_date))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_start_survives_the_journal() {
        let micros = |units| Micros::new(units).unwrap();
        let account = |name| AccountId::new(name).unwrap();
        for total_remainder in [Some(micros(2)), None] {
            let start = DayStartEquity {
                accounts: [
                    (account("a"), Some(micros(-100_000_001))),
                    (account("b"), None),
                    (account("c"), Some(micros(7))),
                ]
                .into(),
                total_remainder,
            };
            let event = DayEvent {
                trading_date: TradingDate::parse("2026-03-02").unwrap(),
                starts: vec![ModeDayStart::of(Mode::Paper, &start, &BTreeMap::new())],
                timestamp: Timestamp::now(),
            };
            let decoded: DayEvent = serde_json::from_slice(&serde_json::to_vec(&event).unwrap()).unwrap();
            assert_eq!(decoded.to_day_starts().unwrap(), [(Mode::Paper, start)]);
        }
        let text = r#"{"trading_date":"2026-03-02","starts":[{"mode":"paper","total":1e12,"accounts":{},"marks":[]}],"timestamp":"2026-03-02T00:00:00Z"}"#;
        let event: DayEvent = serde_json::from_str(text).unwrap();
        assert_eq!(event.to_day_starts(), Err(DayEventError(event.trading_date)));
    }
}
