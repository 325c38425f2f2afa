//! The share of the shared limits that an order holds from its claim to its end.

use std::sync::Arc;

use crate::domain::decimal::Decimal;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::money::{Micros, Rounding};
use crate::domain::order_terms::Side;
use crate::domain::quantity::{Price, Quantity, QuantityUnits, to_quantity_units};
use crate::domain::replace::TermsShare;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::TradingDate;

/// An order's share of the shared limits. Rates and amounts are fixed at the reservation; what is still held decreases
/// with fills and with the order's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The instrument's lot when the order was reserved: a paper venue fills whole lots.
    pub lot_size: Decimal,
    /// The value of one unit of the quote currency in the base currency.
    pub base_rate: Decimal,
    /// The traded asset, where fees may be paid in it.
    pub base_asset: Option<Arc<str>>,
    /// The mark that the order was reserved at.
    pub mark: Price,
    /// The quantity still reserved, neither filled nor released, in units of 1e-8.
    pub reserved: QuantityUnits,
    /// The order's value when it was reserved.
    pub notional: Micros,
    /// The part of it that counts towards the day's routed notional: all of it, or zero after its release.
    pub daily_notional: Micros,
    /// The loss that the caller expects of the order: reserved while the order is open, and again when it is reopened.
    pub expected_loss: Micros,
    /// The loss that the whole order makes against the mark if it fills at the price it is valued at.
    pub price_loss: Micros,
    /// The part of `price_loss` that is still reserved.
    pub open_price_loss: Micros,
    /// Whether the order counts as an open order.
    pub is_open: bool,
    /// The trading day that the order counts towards.
    pub trading_date: TradingDate,
}

impl Reservation {
    /// Returns the reservation of an order at `valuation_price` on a trading day, or `None` when an amount cannot be
    /// counted exactly.
    pub fn for_order(
        instrument: &Instrument,
        intent: &Intent,
        valuation_price: Price,
        mark: Price,
        trading_date: TradingDate,
    ) -> Option<Self> {
        let factors = [
            valuation_price.decimal(),
            intent.quantity.decimal(),
            instrument.base_rate,
        ];
        let notional = Micros::from_product(factors, Rounding::Up)?;
        let price_loss = price_loss(
            intent.side,
            valuation_price,
            intent.quantity,
            mark,
            instrument.base_rate,
        )?;
        let expected_loss = intent.estimated_loss.unwrap_or(Decimal::ZERO);
        Some(Self {
            lot_size: instrument.lot_size.decimal(),
            base_rate: instrument.base_rate,
            base_asset: instrument.base_asset.clone(),
            mark,
            reserved: to_quantity_units(intent.quantity.decimal())?,
            notional,
            daily_notional: notional,
            expected_loss: Micros::from_decimal(expected_loss, Rounding::Up)?,
            price_loss,
            open_price_loss: price_loss,
            is_open: true,
            trading_date,
        })
    }

    /// Returns the value of a quantity at a price, in the base currency, rounded up; `None` when it cannot be counted exactly.
    pub fn value_of(price: Price, quantity: Quantity, base_rate: Decimal) -> Option<Micros> {
        Micros::from_product([price.decimal(), quantity.decimal(), base_rate], Rounding::Up)
    }

    /// Returns what this reservation of an order adds to an earlier one of it, as the share of an order of the value `whole`:
    /// what it has less of counts as nothing.
    pub fn added_to(&self, earlier: &Self, whole: Micros) -> Option<Self> {
        let more = |amount: Micros, before: Micros| Micros::new((amount.units() - before.units()).max(0));
        Some(Self {
            reserved: (self.reserved - earlier.reserved).max(0),
            notional: whole,
            daily_notional: more(self.daily_notional, earlier.daily_notional)?,
            expected_loss: Micros::ZERO,
            price_loss: more(self.open_price_loss, earlier.open_price_loss)?,
            open_price_loss: more(self.open_price_loss, earlier.open_price_loss)?,
            ..self.clone()
        })
    }

    /// Returns how far the claim of the order moves the shared sums.
    pub(super) fn claim_deltas(&self, side: Side) -> SumDeltas {
        SumDeltas {
            open_orders: 1,
            open_loss: self.expected_loss.units() + self.open_price_loss.units(),
            daily_notional: self.daily_notional.units(),
            ..side_deltas(side, self.reserved)
        }
    }

    /// Reserves `open` of an order of `ordered` under other terms, and counts the order as open. Returns how far that moves
    /// the shared sums, or `None` when an amount cannot be counted exactly.
    pub(super) fn change_terms(
        &mut self,
        side: Side,
        open: QuantityUnits,
        ordered: Decimal,
        share: TermsShare,
    ) -> Option<SumDeltas> {
        let more_notional = share.notional.units() - self.notional.units();
        self.daily_notional = Micros::new(self.daily_notional.units().checked_add(more_notional)?)?;
        (self.notional, self.price_loss) = (share.notional, share.price_loss);
        let more = open - std::mem::replace(&mut self.reserved, open);
        let kept_loss = self.price_loss_of(open, ordered)?;
        let earlier_loss = std::mem::replace(&mut self.open_price_loss, kept_loss);
        let (open_orders, open_loss) = match std::mem::replace(&mut self.is_open, true) {
            true => (0, kept_loss.units() - earlier_loss.units()),
            false => (1, self.expected_loss.units() + kept_loss.units()),
        };
        Some(SumDeltas {
            open_orders,
            open_loss,
            daily_notional: more_notional,
            ..side_deltas(side, more)
        })
    }

    /// Releases the part of the price's loss that fills have made real: what is still reserved belongs to the rest of an
    /// order of `ordered`. Returns how far that moves the open loss.
    pub(super) fn release_price_loss(&mut self, ordered: Decimal) -> Option<i64> {
        let kept = self.price_loss_of(self.reserved, ordered)?.min(self.open_price_loss);
        let released = std::mem::replace(&mut self.open_price_loss, kept).units() - kept.units();
        Some(-released)
    }

    /// Returns the price's loss of a part of an order of `ordered`, rounded up.
    fn price_loss_of(&self, part: QuantityUnits, ordered: Decimal) -> Option<Micros> {
        let ordered = to_quantity_units(ordered)?;
        let share = i128::from(self.price_loss.units()).checked_mul(part)?;
        let share = share.div_euclid(ordered) + i128::from(share.rem_euclid(ordered) != 0);
        Micros::new(i64::try_from(share).ok()?)
    }

    /// Drops everything an order holds that was never sent, and never counted in the shared sums.
    pub(super) fn clear(&mut self) {
        self.reserved = 0;
        self.daily_notional = Micros::ZERO;
        self.expected_loss = Micros::ZERO;
        self.price_loss = Micros::ZERO;
        self.open_price_loss = Micros::ZERO;
        self.is_open = false;
    }

    /// Releases what an ended order holds, except `kept`; the day's notional only where the order never traded.
    /// Returns how far that moves the shared sums.
    pub(super) fn release(&mut self, side: Side, kept: QuantityUnits, never_traded: bool) -> SumDeltas {
        let released = std::mem::replace(&mut self.reserved, kept) - kept;
        let notional = if never_traded {
            std::mem::take(&mut self.daily_notional)
        } else {
            Micros::ZERO
        };
        // The amounts of the losses are kept: an order that is reopened reserves them again.
        let (open_orders, open_loss) = match std::mem::take(&mut self.is_open) {
            true => (
                -1,
                -self.expected_loss.units() - std::mem::take(&mut self.open_price_loss).units(),
            ),
            false => (0, 0),
        };
        SumDeltas {
            open_orders,
            open_loss,
            daily_notional: -notional.units(),
            ..side_deltas(side, -released)
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

    /// Reserves `open` in all of an order of `ordered`, and counts the order as open again. Returns how far that moves the
    /// shared sums, or `None` when an amount cannot be counted exactly.
    pub(super) fn restore_quantity(&mut self, side: Side, open: QuantityUnits, ordered: Decimal) -> Option<SumDeltas> {
        let missing = open - std::mem::replace(&mut self.reserved, open);
        let (open_orders, open_loss) = match std::mem::replace(&mut self.is_open, true) {
            true => (0, 0),
            false => {
                self.open_price_loss = self.price_loss_of(open, ordered)?;
                (1, self.expected_loss.units() + self.open_price_loss.units())
            }
        };
        Some(SumDeltas {
            open_orders,
            open_loss,
            ..side_deltas(side, missing)
        })
    }
}

/// Returns the loss that an order makes against its mark if it fills at a price, in the base currency; `None` when an
/// amount cannot be counted exactly.
pub(super) fn price_loss(
    side: Side,
    price: Price,
    quantity: Quantity,
    mark: Price,
    base_rate: Decimal,
) -> Option<Micros> {
    // A difference that only rounding makes is no loss of the price.
    let is_loss = match side {
        Side::Buy => price > mark,
        Side::Sell => price < mark,
    };
    if !is_loss {
        return Some(Micros::ZERO);
    }
    let at_price = [price.decimal(), quantity.decimal(), base_rate];
    let at_mark = [mark.decimal(), quantity.decimal(), base_rate];
    let (paid, worth) = match side {
        Side::Buy => (at_price, at_mark),
        Side::Sell => (at_mark, at_price),
    };
    let (paid, worth) = (
        Micros::from_product(paid, Rounding::Up)?,
        Micros::from_product(worth, Rounding::Down)?,
    );
    Micros::new(paid.units() - worth.units())
}

/// Returns a move of the exposure on one side.
fn side_deltas(side: Side, quantity: QuantityUnits) -> SumDeltas {
    let (long, short) = match side {
        Side::Buy => (quantity, 0),
        Side::Sell => (0, quantity),
    };
    SumDeltas {
        long,
        short,
        ..SumDeltas::default()
    }
}

#[cfg(test)]
#[path = "reservation_tests.rs"]
mod tests;
