//! Instruments: what a venue trades, and in which steps.

use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::money::MAX_EXACT_INTEGER;
use crate::domain::quantity::{Price, Quantity};
use crate::domain::symbol::Symbol;

/// An instrument at one venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// The broker that routes to the venue.
    pub broker: BrokerId,
    /// The venue that trades it.
    pub venue: VenueId,
    /// The normalised symbol.
    pub symbol: Symbol,
    /// The price that paper venues use while the market price is unknown.
    pub reference_price: Price,
    /// The price step: limit prices are multiples of it.
    pub tick_size: Price,
    /// The quantity step: quantities are multiples of it.
    pub lot_size: Quantity,
    /// The largest quantity of one order.
    pub max_order_size: Quantity,
    /// The largest position of one account, long or short.
    pub max_position: Quantity,
    /// The largest notional per account and symbol, in the base currency.
    pub max_notional: Decimal,
    /// Whether an account may hold a short position.
    pub can_short: bool,
    /// The traded asset, where fees may be paid in it.
    pub base_asset: Option<std::sync::Arc<str>>,
    /// The currency of its prices.
    pub quote: String,
    /// The value of one unit of the quote currency in the base currency.
    pub base_rate: Decimal,
}

impl Instrument {
    /// Returns a quantity in lots, or `None` when it is not a whole number of lots or exceeds the range of exact
    /// integers.
    pub fn lots(&self, quantity: Quantity) -> Option<i64> {
        let lots = quantity.decimal().count_multiples_of(self.lot_size.decimal())?;
        i64::try_from(lots).ok().filter(|lots| *lots <= MAX_EXACT_INTEGER)
    }

    /// Reports whether a price is a whole number of ticks.
    pub fn is_on_tick(&self, price: Price) -> bool {
        price.decimal().count_multiples_of(self.tick_size.decimal()).is_some()
    }
}
