//! What can be traded where, and in which steps.

use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::MAX_EXACT_INTEGER;
use crate::domain::quantity::{Price, Quantity};

/// An instrument of one venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// The broker that trades it.
    pub broker: BrokerId,
    /// The venue it is traded at.
    pub venue: VenueId,
    /// Its normalised symbol.
    pub symbol: Symbol,
    /// The price that stands in where the market's is not known (paper only).
    pub reference_price: Price,
    /// Prices are multiples of this.
    pub tick_size: Price,
    /// Quantities are multiples of this.
    pub lot_size: Quantity,
    /// The largest quantity of one order.
    pub max_order_size: Quantity,
    /// The largest position of one account, long or short.
    pub max_position: Quantity,
    /// The cap of the notional per account and symbol, in the base currency.
    pub max_notional: Decimal,
    /// Whether a position may be below zero.
    pub can_short: bool,
    /// The asset that is bought or sold, where fees may be paid in it.
    pub base_asset: Option<std::sync::Arc<str>>,
    /// The currency of its prices.
    pub quote: String,
    /// What one unit of the quote currency is worth in the base currency.
    pub base_rate: Decimal,
}

impl Instrument {
    /// Returns a quantity in lots, or `None` when it is not a whole number of lots or beyond the exact range.
    pub fn lots(&self, quantity: Quantity) -> Option<i64> {
        let lots = quantity.decimal().count_multiples_of(self.lot_size.decimal())?;
        i64::try_from(lots).ok().filter(|lots| *lots <= MAX_EXACT_INTEGER)
    }

    /// Whether a price is a whole number of ticks.
    pub fn is_on_tick(&self, price: Price) -> bool {
        price.decimal().count_multiples_of(self.tick_size.decimal()).is_some()
    }
}
