//! What the trading day is computed from, and the value of positions.

use std::time::Duration;

use crate::bus::journal::{JournalReader, JournalWriter};
use crate::domain::day_profit::{DayProfit, PositionSums, ValuationInputs, compute_day_profit};
use crate::domain::mark_prices::MarkPrices;
use crate::domain::order_terms::Mode;
use crate::domain::time::{Clock, TradingDate};
use crate::store::Store;
use crate::worker::control::cache::ControlCache;
use crate::worker::instruments::Instruments;
use crate::worker::trading_day::reference_prices::ReferencePrices;

/// The parts of a worker that the trading day is computed from.
pub struct TradingDayDependencies {
    /// This worker's copy of the operators' overrides, with the limits in force.
    pub control: ControlCache,
    /// The shared state.
    pub store: Store,
    /// Where day starts are appended.
    pub journal: JournalWriter,
    /// Where day starts are read.
    pub journal_reader: JournalReader,
    /// The mark prices.
    pub prices: ReferencePrices,
    /// The clock that trading days follow.
    pub clock: Clock,
    /// The most by which the clock may differ from Redis' when a day opens; `None` for a clock that is not this
    /// machine's.
    pub max_clock_skew: Option<Duration>,
}

impl TradingDayDependencies {
    /// Returns the profit of a trading day: positions at their marks now, less positions at its start at the marks then.
    /// `None` where it exceeds the exact range.
    pub(super) fn day_profit(
        &self,
        instruments: &Instruments,
        holdings: &[PositionSums],
        mode: Mode,
        date: TradingDate,
        start_marks: &MarkPrices,
    ) -> Option<DayProfit> {
        let valuation = |holding: &PositionSums| {
            let key = (holding.venue.clone(), holding.symbol.clone());
            let instrument = instruments.get(&key.0, &key.1)?;
            let valuation = ValuationInputs {
                base_rate: instrument.base_rate,
                mark: self.prices.mark_price(instrument, mode),
                start_mark: start_marks.get(&key).copied(),
            };
            Some((key, valuation))
        };
        compute_day_profit(holdings, date, &holdings.iter().filter_map(valuation).collect())
    }

    /// Returns the mark price of every instrument that has one.
    pub(super) fn mark_prices(&self, mode: Mode) -> MarkPrices {
        let limits = self.control.limits();
        let marks = limits.instruments.all().filter_map(|instrument| {
            let mark = self.prices.mark_price(instrument, mode)?;
            Some(((instrument.venue.clone(), instrument.symbol.clone()), mark))
        });
        marks.collect()
    }
}
