//! What a position has cost and what it has earned, in the journal's order. Exact but for one rounding of 1e-20 of the
//! quote currency where a part of a position is closed.
//!
//! The sums of [`crate::domain::settlement`] commute and know nothing of an order of events; an average cost depends on it. So it
//! is kept for display alone, by whoever follows the journal, and no rule judges by it.

use crate::domain::decimal::Decimal;
use crate::domain::money::{BASE_ASSET_FEE_SCALE, MICROS_SCALE, Micros};
use crate::domain::order::AVERAGE_PRICE_DECIMALS;
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, Price};

/// Decimals of a book's quantity.
pub const QUANTITY_SCALE: u32 = MAX_AMOUNT_DECIMALS;
/// Decimals of a book's cost and realised profit, which have the decimals of quantity × average price.
pub const COST_SCALE: u32 = QUANTITY_SCALE + AVERAGE_PRICE_DECIMALS;
/// A book's quantity lies within this, in units of 1e-8, so that it is a [`Decimal`].
const QUANTITY_UNITS_BOUND: i128 = 10_i128.pow(27);
/// What makes a price of eight decimals, times a quantity, a cost.
const PRICE_TO_COST_FACTOR: i128 = 10_i128.pow(COST_SCALE - QUANTITY_SCALE - MAX_AMOUNT_DECIMALS);
/// The divisors of [`product_over`] lie below this, so that twice a remainder is held.
const MUL_DIV_DIVISOR_BOUND: u128 = 1 << 127;

const _: () = assert!(
    BASE_ASSET_FEE_SCALE == QUANTITY_SCALE,
    "a fee in the base asset is a quantity"
);

/// Why a book does not take an event, or is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionBookError {
    /// A figure would leave the range it is counted in; the book stays as it was.
    #[error("the position's figures cannot be counted exactly")]
    ExceedsExactRange,
    /// Quantity and cost do not go together.
    #[error("these are not the parts of a position's book")]
    InconsistentParts,
}

/// The book of one position: what is held, what it has cost, and what was earned by what was held before.
///
/// Of a position that is reduced, what is closed takes its share of the cost with it, so that the average price stays; one
/// that crosses zero is closed at its average and opened anew at the trade's price. At any time, in units of the quote
/// currency and without any rounding, `realized − cost` is the sum of what trades have brought in less what they have
/// paid: with a mark m, `realized + (quantity × m − cost)` is that sum plus `quantity × m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PositionBook {
    /// In units of 1e-8; below zero for a short position.
    quantity: i128,
    /// What the quantity has cost, in units of 1e-20 of the quote currency; below zero for a short position, where it is
    /// what selling has brought in.
    cost: i128,
    /// What closing has earned before fees, in units of 1e-20 of the quote currency.
    realized: i128,
    /// Fees that were not paid in the base asset, in millionths of the base currency, as the shared sums count them.
    fees: i128,
}

/// A book as whole numbers, to be kept somewhere and made a book again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionBookParts {
    /// The quantity, in units of 1e-8.
    pub quantity: i128,
    /// Its cost, in units of 1e-20 of the quote currency.
    pub cost: i128,
    /// What closing has earned before fees, in units of 1e-20 of the quote currency.
    pub realized: i128,
    /// Fees that were not paid in the base asset, in millionths of the base currency.
    pub fees: i128,
}

impl PositionBook {
    /// Returns the book of these parts.
    ///
    /// # Errors
    /// When a flat position has a cost, or the cost another sign than the quantity, or that is too large to be told.
    pub fn from_parts(parts: PositionBookParts) -> Result<Self, PositionBookError> {
        let PositionBookParts {
            quantity,
            cost,
            realized,
            fees,
        } = parts;
        let belong_together = cost == 0 || cost.signum() == quantity.signum();
        if belong_together && is_within_quantity_bound(quantity) {
            Ok(Self {
                quantity,
                cost,
                realized,
                fees,
            })
        } else {
            Err(PositionBookError::InconsistentParts)
        }
    }

    /// Returns the book's parts.
    pub fn parts(&self) -> PositionBookParts {
        PositionBookParts {
            quantity: self.quantity,
            cost: self.cost,
            realized: self.realized,
            fees: self.fees,
        }
    }

    /// Returns the book after a trade, or an adjustment, which counts as one at its price: the quantity is above zero for
    /// what came in, below for what went out.
    ///
    /// # Errors
    /// When the quantity has more than eight decimals, or a figure would leave its range.
    pub fn apply_trade(self, quantity: Decimal, price: Price) -> Result<Self, PositionBookError> {
        let quantity = quantity
            .to_scaled_integer(QUANTITY_SCALE)
            .ok_or(PositionBookError::ExceedsExactRange)?;
        let price = price
            .decimal()
            .to_scaled_integer(MAX_AMOUNT_DECIMALS)
            .ok_or(PositionBookError::ExceedsExactRange)?;
        self.apply_scaled_trade(quantity, price)
            .ok_or(PositionBookError::ExceedsExactRange)
    }

    /// Returns the book after a fee that was paid in the base asset, in units of 1e-8 of it. It counts as a trade at no
    /// price: of a long position the cost of what was paid away is a realised loss, a short one owes more for what it has
    /// brought in. Of a fill, the trade goes first.
    ///
    /// # Errors
    /// When a figure would leave its range.
    pub fn apply_base_asset_fee(self, units: i64) -> Result<Self, PositionBookError> {
        self.apply_scaled_trade(-i128::from(units), 0)
            .ok_or(PositionBookError::ExceedsExactRange)
    }

    /// Returns the book after a fee that was not paid in the base asset, as the shared sums count it: in the base currency,
    /// at the rate it had then.
    ///
    /// # Errors
    /// When the sum would leave its range.
    pub fn apply_fee(self, amount: Micros) -> Result<Self, PositionBookError> {
        let fees = self.fees.checked_add(i128::from(amount.units()));
        Ok(Self {
            fees: fees.ok_or(PositionBookError::ExceedsExactRange)?,
            ..self
        })
    }

    /// Moves the position by a quantity at a price in units of 1e-8.
    fn apply_scaled_trade(self, quantity: i128, price: i128) -> Option<Self> {
        let held = self
            .quantity
            .checked_add(quantity)
            .filter(|held| is_within_quantity_bound(*held))?;
        let unit_cost = price.checked_mul(PRICE_TO_COST_FACTOR)?;
        let is_reduced = self.quantity.signum() * quantity.signum() < 0;
        if !is_reduced {
            return Some(Self {
                quantity: held,
                cost: self.cost.checked_add(quantity.checked_mul(unit_cost)?)?,
                ..self
            });
        }
        let reach = quantity.unsigned_abs().min(self.quantity.unsigned_abs());
        let closing = i128::try_from(reach).ok()?.checked_mul(quantity.signum())?;
        let share = self.prorated_cost(reach)?;
        let earned = closing.checked_neg()?.checked_mul(unit_cost)?.checked_sub(share)?;
        let opening = quantity.checked_sub(closing)?;
        Some(Self {
            quantity: held,
            cost: self
                .cost
                .checked_sub(share)?
                .checked_add(opening.checked_mul(unit_cost)?)?,
            realized: self.realized.checked_add(earned)?,
            ..self
        })
    }

    /// Returns the cost of a part of the position, ties to even; of all of it the whole cost.
    fn prorated_cost(&self, closed_quantity: u128) -> Option<i128> {
        let of = self.quantity.unsigned_abs();
        if closed_quantity == of {
            return Some(self.cost);
        }
        let (quotient, rest) = mul_div(self.cost.unsigned_abs(), closed_quantity, of)?;
        let share = i128::try_from(quotient + half_even_increment(quotient, rest, of)).ok()?;
        share.checked_mul(self.cost.signum())
    }

    /// Whether nothing is held.
    pub fn is_flat(&self) -> bool {
        self.quantity == 0
    }

    /// Returns what is held, below zero for a short position.
    pub fn quantity(&self) -> Decimal {
        // Every book's quantity has been found to fit.
        Decimal::from_parts(self.quantity, QUANTITY_SCALE).unwrap_or(Decimal::ZERO)
    }

    /// Returns what a unit has cost on average, in the quote currency with 12 decimals, ties to even; of a short position,
    /// what it has brought in. `None` for a flat one.
    pub fn average_price(&self) -> Option<Decimal> {
        let (cost, quantity) = (self.cost.unsigned_abs(), self.quantity.unsigned_abs());
        let price = cost.checked_div(quantity)?;
        let price = price + half_even_increment(price, cost % quantity, quantity);
        Decimal::from_parts(i128::try_from(price).ok()?, AVERAGE_PRICE_DECIMALS)
    }

    /// Returns what closing has earned less all fees but those in the base asset, which have made the position smaller: in
    /// the base currency, rounded down to a millionth. `base_rate` is what a unit of the quote currency is worth now: of
    /// the fees, which are in the base currency already, it changes nothing. `None` beyond the exact range.
    pub fn realized_pnl(&self, base_rate: Decimal) -> Option<Micros> {
        let earned = to_base_micros(self.realized, base_rate)?;
        Micros::new(i64::try_from(earned.checked_sub(self.fees)?).ok()?)
    }

    /// Returns what closing at a price would earn, in the base currency, rounded down to a millionth; `None` beyond the
    /// exact range.
    pub fn unrealized_pnl(&self, price: Price, base_rate: Decimal) -> Option<Micros> {
        self.value_less_cost(price, base_rate, self.cost)
    }

    /// Returns what the position is worth at a price, in the base currency, rounded down to a millionth; below zero for a
    /// short position. `None` beyond the exact range.
    pub fn market_value(&self, price: Price, base_rate: Decimal) -> Option<Micros> {
        self.value_less_cost(price, base_rate, 0)
    }

    fn value_less_cost(&self, price: Price, base_rate: Decimal, cost_basis: i128) -> Option<Micros> {
        let unit = price
            .decimal()
            .to_scaled_integer(MAX_AMOUNT_DECIMALS)?
            .checked_mul(PRICE_TO_COST_FACTOR)?;
        let worth = self.quantity.checked_mul(unit)?.checked_sub(cost_basis)?;
        Micros::new(i64::try_from(to_base_micros(worth, base_rate)?).ok()?)
    }
}

fn is_within_quantity_bound(quantity: i128) -> bool {
    quantity.unsigned_abs() < QUANTITY_UNITS_BOUND.unsigned_abs()
}

/// Returns an amount of the quote currency, in units of 1e-20, in millionths of the base currency, rounded down.
fn to_base_micros(amount: i128, base_rate: Decimal) -> Option<i128> {
    let (rate, scale) = base_rate.parts();
    let divisor = 10_u128.checked_pow((COST_SCALE - MICROS_SCALE).checked_add(scale)?)?;
    let (quotient, rest) = mul_div(amount.unsigned_abs(), rate.unsigned_abs(), divisor)?;
    let quotient = i128::try_from(quotient).ok()?;
    if amount.signum() * rate.signum() < 0 {
        quotient.checked_neg()?.checked_sub(i128::from(rest != 0))
    } else {
        Some(quotient)
    }
}

/// Returns 1 where a quotient with this rest is to be raised, ties to even.
fn half_even_increment(quotient: u128, remainder: u128, divisor: u128) -> u128 {
    let below = divisor - remainder;
    u128::from(remainder > below || (remainder == below && quotient % 2 == 1))
}

/// Returns one × other ÷ divisor and the rest, also where the product alone is too large to be held.
fn mul_div(multiplicand: u128, multiplier: u128, divisor: u128) -> Option<(u128, u128)> {
    if divisor == 0 || divisor >= MUL_DIV_DIVISOR_BOUND {
        return None;
    }
    if let Some(product) = multiplicand.checked_mul(multiplier) {
        return Some((product / divisor, product % divisor));
    }
    // Long division, bit by bit of the one: what was multiplied so far is quotient × divisor + rest, rest < divisor.
    let (whole, part) = (multiplier / divisor, multiplier % divisor);
    let (mut quotient, mut rest) = (0_u128, 0_u128);
    for bit in (0..u128::BITS).rev() {
        quotient = quotient.checked_mul(2)?;
        rest *= 2;
        if multiplicand >> bit & 1 == 1 {
            quotient = quotient.checked_add(whole)?;
            // Both lie below the divisor, so that twice its bound holds them after one subtraction.
            if rest >= divisor {
                rest -= divisor;
                quotient = quotient.checked_add(1)?;
            }
            rest += part;
        }
        if rest >= divisor {
            rest -= divisor;
            quotient = quotient.checked_add(1)?;
        }
    }
    Some((quotient, rest))
}

#[cfg(test)]
#[path = "position_book_tests.rs"]
mod tests;
