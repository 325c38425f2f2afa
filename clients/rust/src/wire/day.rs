//! The `DayEvent`: the journal's record of the start of a trading day.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::id::VenueId;
use crate::domain::mark_prices::MarkPrices;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};

/// The start of a trading day (`orders.events.day._`): the prices that positions are valued at then. The day's profit or
/// loss of an account is its change in value since. The first event of a date counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayEvent {
    /// The trading day that starts.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// The prices at the start of the day, one entry per mode.
    pub starts: Vec<ModeDayStart>,
    /// When the prices were read.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// The prices at the start of a trading day in one mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DayStartOfMode")]
pub struct ModeDayStart {
    /// The mode that accounts hold their positions in.
    pub mode: Mode,
    /// The price of each instrument that had one.
    pub marks: Vec<DayMark>,
}

/// A price that positions are valued at.
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

/// A journaled start of day with an invalid instrument or price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journaled start of trading day {0} has an invalid venue, symbol or price")]
pub struct DayEventError(pub TradingDate);

impl ModeDayStart {
    /// Returns the start of a day in a mode at these prices.
    pub fn of(mode: Mode, marks: &MarkPrices) -> Self {
        let mark = |((venue, symbol), price): (&(VenueId, Symbol), &Price)| DayMark {
            venue: venue.to_string(),
            symbol: symbol.to_string(),
            price: price.decimal(),
        };
        Self {
            mode,
            marks: marks.iter().map(mark).collect(),
        }
    }
}

impl DayMark {
    fn decode(&self) -> Option<((VenueId, Symbol), Price)> {
        let instrument = (VenueId::new(&self.venue).ok()?, Symbol::parse(&self.symbol).ok()?);
        Some((instrument, Price::new(self.price).ok()?))
    }
}

impl DayEvent {
    /// Returns the prices at the start of the day, by mode.
    ///
    /// # Errors
    /// A venue, a symbol or a price that is not valid.
    pub fn to_marks(&self) -> Result<Vec<(Mode, MarkPrices)>, DayEventError> {
        let by_mode = |start: &ModeDayStart| {
            let marks: Option<MarkPrices> = start.marks.iter().map(DayMark::decode).collect();
            Some((start.mode, marks?))
        };
        let marks: Option<Vec<_>> = self.starts.iter().map(by_mode).collect();
        marks.ok_or(DayEventError(self.trading_date))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_the_journal() {
        let price = Price::new("30000.5".parse().unwrap()).unwrap();
        let instrument = (VenueId::new("binance.spot").unwrap(), Symbol::parse("BTCUSDT").unwrap());
        let marks: MarkPrices = [(instrument, price)].into();
        let event = DayEvent {
            trading_date: TradingDate::parse("2026-03-02").unwrap(),
            starts: vec![ModeDayStart::of(Mode::Paper, &marks)],
            timestamp: Timestamp::now(),
        };
        let decoded: DayEvent = serde_json::from_slice(&serde_json::to_vec(&event).unwrap()).unwrap();
        assert_eq!(decoded.to_marks().unwrap(), [(Mode::Paper, marks)]);
        let mut invalid = decoded;
        invalid.starts[0].marks[0].price = Decimal::ZERO;
        assert_eq!(invalid.to_marks(), Err(DayEventError(invalid.trading_date)));
    }
}
