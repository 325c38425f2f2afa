//! What the trading day is computed from, and the value of positions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::journal::{JournalReader, JournalWriter};
use crate::domain::calendar::TradingCalendar;
use crate::domain::equity::{Equities, PositionSums, ValuationInputs, compute_equities};
use crate::domain::id::VenueId;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::symbol::Symbol;
use crate::domain::time::Clock;
use crate::store::Store;
use crate::worker::control::cache::ControlCache;
use crate::worker::instruments::Instruments;
use crate::worker::trading_day::reference_prices::ReferencePrices;

/// The parts of a worker that the trading day is computed from.
pub struct TradingDayDependencies {
    /// This worker's copy of the operators' overrides.
    pub control: ControlCache,
    /// The shared state.
    pub store: Store,
    /// Where day starts are appended.
    pub journal: JournalWriter,
    /// Where day starts are read.
    pub journal_reader: JournalReader,
    /// The mark prices.
    pub prices: ReferencePrices,
    /// The instruments of the settings.
    pub instruments: Arc<Instruments>,
    /// When trading days start and end.
    pub calendar: TradingCalendar,
    /// The clock that trading days follow.
    pub clock: Clock,
    /// The most by which the clock may differ from Redis' when a day opens; `None` for a clock that is not this
    /// machine's.
    pub max_clock_skew: Option<Duration>,
}

/// The mark price of each instrument.
pub(super) type MarkPrices = BTreeMap<(VenueId, Symbol), Price>;

impl TradingDayDependencies {
    /// Returns the equity of every account now, and the mark prices it is computed from.
    pub(super) fn value_holdings(&self, holdings: &[PositionSums], mode: Mode) -> (Equities, MarkPrices) {
        let (mut marks, mut valuations) = (MarkPrices::new(), BTreeMap::new());
        for holding in holdings {
            let key = (holding.venue.clone(), holding.symbol.clone());
            let Some(instrument) = self
                .instruments
                .get(&key.0, &key.1)
                .filter(|_| !marks.contains_key(&key))
            else {
                continue;
            };
            let Some(mark) = self.prices.mark_price(instrument, mode) else {
                continue;
            };
            let valuation = ValuationInputs {
                lot_size: instrument.lot_size.decimal(),
                base_rate: instrument.base_rate,
                mark,
            };
            valuations.insert(key.clone(), valuation);
            marks.insert(key, mark);
        }
        (compute_equities(holdings, &valuations), marks)
    }
}
