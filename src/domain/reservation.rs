//! The share of the shared limits that an order holds from its claim to its end.

use std::sync::Arc;

use crate::domain::decimal::Decimal;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::money::{Micros, Rounding};
use crate::domain::order_terms::Side;
use crate::domain::quantity::Price;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::TradingDate;

/// An order's share of the shared limits. Rates and amounts are fixed at the reservation; what is still held decreases
/// with fills and with the order's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The lot that the quantities below count in.
    pub lot_size: Decimal,
    /// The value of one unit of the quote currency in the base currency.
    pub base_rate: Decimal,
    /// The traded asset, where fees may be paid in it.
    pub base_asset: Option<Arc<str>>,
    /// Lots still reserved: neither filled nor released.
    pub reserved_lots: i64,
    /// The order's value when it was reserved.
    pub notional: Micros,
    /// The part of it that counts towards the day's routed notional: all of it, or zero after its release.
    pub daily_notional: Micros,
    /// The loss that the caller expects of the order: reserved while the order is open, and again when it is reopened.
    pub expected_loss: Micros,
    /// Whether the order counts as an open order.
    pub is_open: bool,
    /// The trading day that the order counts towards.
    pub trading_date: TradingDate,
}

impl Reservation {
    /// Returns the reservation of an order of `lots` at `valuation_price` on a trading day, or `None` when an amount
    /// cannot be counted exactly.
    pub fn for_order(
        instrument: &Instrument,
        intent: &Intent,
        lots: i64,
        valuation_price: Price,
        trading_date: TradingDate,
    ) -> Option<Self> {
        let factors = [
            valuation_price.decimal(),
            intent.quantity.decimal(),
            instrument.base_rate,
        ];
        let notional = Micros::from_product(factors, Rounding::Up)?;
        let expected_loss = intent.estimated_loss.unwrap_or(Decimal::ZERO);
        Some(Self {
            lot_size: instrument.lot_size.decimal(),
            base_rate: instrument.base_rate,
            base_asset: instrument.base_asset.clone(),
            reserved_lots: lots,
            notional,
            daily_notional: notional,
            expected_loss: Micros::from_decimal(expected_loss, Rounding::Up)?,
            is_open: true,
            trading_date,
        })
    }

    /// Returns how far the claim of the order moves the shared sums.
    pub(super) fn claim_deltas(&self, side: Side) -> SumDeltas {
        SumDeltas {
            open_orders: 1,
            open_loss: self.expected_loss.units(),
            daily_notional: self.daily_notional.units(),
            ..side_deltas(side, self.reserved_lots)
        }
    }

    /// Returns a quantity in lots, or `None` when it is not a whole number of lots.
    pub(super) fn lots(&self, quantity: Decimal) -> Option<i64> {
        let lots = quantity.count_multiples_of(self.lot_size)?;
        i64::try_from(lots).ok()
    }

    /// Drops everything an order holds that was never sent, and never counted in the shared sums.
    pub(super) fn clear(&mut self) {
        self.reserved_lots = 0;
        self.daily_notional = Micros::ZERO;
        self.expected_loss = Micros::ZERO;
        self.is_open = false;
    }

    /// Releases what an ended order holds, except `kept_lots`; the day's notional only where the order never traded.
    /// Returns how far that moves the shared sums.
    pub(super) fn release(&mut self, side: Side, kept_lots: i64, never_traded: bool) -> SumDeltas {
        let released_lots = std::mem::replace(&mut self.reserved_lots, kept_lots) - kept_lots;
        let notional = if never_traded {
            std::mem::take(&mut self.daily_notional)
        } else {
            Micros::ZERO
        };
        // The amount of the expected loss is kept: an order that is reopened reserves it again.
        let (open_orders, open_loss) = match std::mem::take(&mut self.is_open) {
            true => (-1, -self.expected_loss.units()),
            false => (0, 0),
        };
        SumDeltas {
            open_orders,
            open_loss,
            daily_notional: -notional.units(),
            ..side_deltas(side, -released_lots)
        }
    }

    /// Counts the order's whole notional towards its trading day again. Returns how far that moves the shared sums.
    pub(super) fn restore_notional(&mut self) -> SumDeltas {
        let missing = self.notional.units() - self.daily_notional.units();
        self.daily_notional = self.notional;
        SumDeltas {
            daily_notional: missing,
            ..SumDeltas::default()
        }
    }

    /// Reserves `open_lots` in all, and counts the order as open again. Returns how far that moves the shared sums.
    pub(super) fn restore_lots(&mut self, side: Side, open_lots: i64) -> SumDeltas {
        let missing = open_lots - std::mem::replace(&mut self.reserved_lots, open_lots);
        let (open_orders, open_loss) = match std::mem::replace(&mut self.is_open, true) {
            true => (0, 0),
            false => (1, self.expected_loss.units()),
        };
        SumDeltas {
            open_orders,
            open_loss,
            ..side_deltas(side, missing)
        }
    }
}

/// Returns a move of the exposure on one side.
fn side_deltas(side: Side, lots: i64) -> SumDeltas {
    let (long, short) = match side {
        Side::Buy => (lots, 0),
        Side::Sell => (0, lots),
    };
    SumDeltas {
        long,
        short,
        ..SumDeltas::default()
    }
}
