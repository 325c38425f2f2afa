//! The instruments that orders may name.

use std::collections::BTreeMap;

use crate::config::limits::LimitSettings;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::symbol::Symbol;

/// Every instrument, by venue and symbol.
#[derive(Debug, Default)]
pub struct Instruments(BTreeMap<(VenueId, Symbol), Instrument>);

impl Instruments {
    /// Returns the instruments of limits.
    pub fn of(limits: &LimitSettings) -> Self {
        let instruments = limits.instruments().to_instruments(limits.risk());
        Self(
            instruments
                .into_iter()
                .map(|one| ((one.venue.clone(), one.symbol.clone()), one))
                .collect(),
        )
    }

    /// Returns the instrument that a venue trades under a symbol.
    pub fn get(&self, venue: &VenueId, symbol: &Symbol) -> Option<&Instrument> {
        self.0.get(&(venue.clone(), symbol.clone()))
    }

    /// Returns all instruments, in the order of venue and symbol.
    pub fn all(&self) -> impl Iterator<Item = &Instrument> {
        self.0.values()
    }

    /// Returns the instruments that a broker trades.
    pub fn for_broker<'a>(&'a self, broker: &'a BrokerId) -> impl Iterator<Item = &'a Instrument> {
        self.0.values().filter(move |instrument| instrument.broker == *broker)
    }
}
