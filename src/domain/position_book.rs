//! The average cost and realised profit of a position, in journal order. Exact, except for one rounding to 1e-20 of the
//! quote currency when a part of a position is closed.
//!
//! The sums of [`crate::domain::settlement`] commute; an average cost depends on the order of events. The book is therefore
//! for display only: the order log computes it, and no risk rule uses it.

use crate::domain::decimal::Decimal;
use crate::domain::money::{MICROS_SCALE, Micros};
use crate::domain::quantity::{AVERAGE_PRICE_DECIMALS, MAX_AMOUNT_DECIMALS, Price};

/// Decimals of a book's quantity.
pub const QUANTITY_SCALE: u32 = MAX_AMOUNT_DECIMALS;
/// Decimals of a book's cost and realised profit: those of quantity × average price.
pub const COST_SCALE: u32 = QUANTITY_SCALE + AVERAGE_PRICE_DECIMALS;
/// The bound of a book's quantity, exclusive, in units of 1e-8: below it, the quantity is a [`Decimal`].
const QUANTITY_UNITS_BOUND: i128 = 10_i128.pow(27);
/// The factor from quantity × price, each with eight decimals, to a cost.
const PRICE_TO_COST_FACTOR: i128 = 10_i128.pow(COST_SCALE - QUANTITY_SCALE - MAX_AMOUNT_DECIMALS);
/// The bound of the divisors of [`mul_div`], exclusive: twice a remainder must fit.
const MUL_DIV_DIVISOR_BOUND: u128 = 1 << 127;

/// Why a book cannot be created or updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionBookError {
    /// A value would exceed its range; the book is unchanged.
    #[error("the position's quantity, cost or profit cannot be counted exactly")]
    ExceedsExactRange,
    /// Quantity and cost are inconsistent.
    #[error("the quantity and cost of the position are inconsistent")]
    InconsistentParts,
}

/// The book of one position: its quantity, the cost of that quantity, and the profit realised so far.
///
/// A trade that reduces the position removes a proportional share of the cost, so that the average price is unchanged. A
/// trade that crosses zero closes the position at its average price and opens a new one at the trade's price. At any time,
/// in the quote currency and without rounding, `realized − cost` is the cash flow of all trades: proceeds less payments.
/// With a mark m, `realized + (quantity × m − cost)` is that cash flow plus `quantity × m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PositionBook {
    /// The quantity in units of 1e-8; below zero for a short position.
    quantity: i128,
    /// The cost of the quantity, in units of 1e-20 of the quote currency; below zero for a short position, where it is the
    /// proceeds of the sells.
    cost: i128,
    /// The profit of closed quantities before fees, in units of 1e-20 of the quote currency.
    realized: i128,
    /// Fees in other currencies than the base asset, in millionths of the base currency, as in the shared sums.
    fees: i128,
}

/// A book as whole numbers, for storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionBookParts {
    /// The quantity, in units of 1e-8.
    pub quantity: i128,
    /// The cost of the quantity, in units of 1e-20 of the quote currency.
    pub cost: i128,
    /// The profit of closed quantities before fees, in units of 1e-20 of the quote currency.
    pub realized: i128,
    /// Fees in other currencies than the base asset, in millionths of the base currency.
    pub fees: i128,
}

impl PositionBook {
    /// Returns the book with these parts.
    ///
    /// # Errors
    /// When a flat position has a cost, cost and quantity have opposite signs, or the quantity exceeds its range.
    pub fn from_parts(parts: PositionBookParts) -> Result<Self, PositionBookError> {
        let PositionBookParts {
            quantity,
            cost,
            realized,
            fees,
        } = parts;
        let is_consistent = cost == 0 || cost.signum() == quantity.signum();
        if is_consistent && is_within_quantity_bound(quantity) {
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

    /// Returns the book after a trade, or after an adjustment, which counts as a trade at its price. The quantity is above
    /// zero for a buy and below zero for a sell.
    ///
    /// # Errors
    /// When the quantity has more than eight decimals, or a value would exceed its range.
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

    /// Returns the book after a fee in the base asset, in units of 1e-8 of it. The fee counts as a sell at a price of zero: a
    /// long position realises the cost of the paid quantity as a loss; a short position grows without further proceeds.
    /// Apply a fill's trade before its fee.
    ///
    /// # Errors
    /// When a value would exceed its range.
    pub fn apply_base_asset_fee(self, units: i64) -> Result<Self, PositionBookError> {
        self.apply_scaled_trade(-i128::from(units), 0)
            .ok_or(PositionBookError::ExceedsExactRange)
    }

    /// Returns the book after a fee in another currency than the base asset. The amount is in the base currency, at the rate
    /// of the booking, as in the shared sums.
    ///
    /// # Errors
    /// When the sum of fees would exceed its range.
    pub fn apply_fee(self, amount: Micros) -> Result<Self, PositionBookError> {
        let fees = self.fees.checked_add(i128::from(amount.units()));
        Ok(Self {
            fees: fees.ok_or(PositionBookError::ExceedsExactRange)?,
            ..self
        })
    }

    /// Applies a trade whose quantity and price are in units of 1e-8.
    fn apply_scaled_trade(self, quantity: i128, price: i128) -> Option<Self> {
        let new_quantity = self
            .quantity
            .checked_add(quantity)
            .filter(|quantity| is_within_quantity_bound(*quantity))?;
        let unit_cost = price.checked_mul(PRICE_TO_COST_FACTOR)?;
        let is_reduced = self.quantity.signum() * quantity.signum() < 0;
        if !is_reduced {
            return Some(Self {
                quantity: new_quantity,
                cost: self.cost.checked_add(quantity.checked_mul(unit_cost)?)?,
                ..self
            });
        }
        let closed_quantity = quantity.unsigned_abs().min(self.quantity.unsigned_abs());
        let closing = i128::try_from(closed_quantity).ok()?.checked_mul(quantity.signum())?;
        let share = self.prorated_cost(closed_quantity)?;
        let earned = closing.checked_neg()?.checked_mul(unit_cost)?.checked_sub(share)?;
        let opening = quantity.checked_sub(closing)?;
        Some(Self {
            quantity: new_quantity,
            cost: self
                .cost
                .checked_sub(share)?
                .checked_add(opening.checked_mul(unit_cost)?)?,
            realized: self.realized.checked_add(earned)?,
            ..self
        })
    }

    /// Returns the cost of a part of the position, ties to even; the exact cost for the whole position.
    fn prorated_cost(&self, closed_quantity: u128) -> Option<i128> {
        let held_quantity = self.quantity.unsigned_abs();
        if closed_quantity == held_quantity {
            return Some(self.cost);
        }
        let (quotient, rest) = mul_div(self.cost.unsigned_abs(), closed_quantity, held_quantity)?;
        let share = i128::try_from(quotient + half_even_increment(quotient, rest, held_quantity)).ok()?;
        share.checked_mul(self.cost.signum())
    }

    /// Reports whether the quantity is zero.
    pub fn is_flat(&self) -> bool {
        self.quantity == 0
    }

    /// Returns the quantity; below zero for a short position.
    pub fn quantity(&self) -> Decimal {
        // Every book's quantity is within the bound, so that it is a decimal.
        Decimal::from_parts(self.quantity, QUANTITY_SCALE).unwrap_or(Decimal::ZERO)
    }

    /// Returns the average price of the quantity, in the quote currency with 12 decimals, ties to even; `None` for a flat
    /// position.
    pub fn average_price(&self) -> Option<Decimal> {
        let (cost, quantity) = (self.cost.unsigned_abs(), self.quantity.unsigned_abs());
        let price = cost.checked_div(quantity)?;
        let price = price + half_even_increment(price, cost % quantity, quantity);
        Decimal::from_parts(i128::try_from(price).ok()?, AVERAGE_PRICE_DECIMALS)
    }

    /// Returns the realised profit less fees, in the base currency, rounded down to a millionth. Fees in the base asset are
    /// not subtracted: they have reduced the position. `base_rate` is the current value of one unit of the quote currency;
    /// it does not apply to the fees, which are in the base currency. `None` outside the exact range.
    pub fn realized_pnl(&self, base_rate: Decimal) -> Option<Micros> {
        let earned = to_base_micros(self.realized, base_rate)?;
        Micros::new(i64::try_from(earned.checked_sub(self.fees)?).ok()?)
    }

    /// Returns the profit of closing the position at a price, in the base currency, rounded down to a millionth; `None`
    /// outside the exact range.
    pub fn unrealized_pnl(&self, price: Price, base_rate: Decimal) -> Option<Micros> {
        self.value_less_cost(price, base_rate, self.cost)
    }

    /// Returns the value of the position at a price, in the base currency, rounded down to a millionth; below zero for a
    /// short position. `None` outside the exact range.
    pub fn market_value(&self, price: Price, base_rate: Decimal) -> Option<Micros> {
        self.value_less_cost(price, base_rate, 0)
    }

    fn value_less_cost(&self, price: Price, base_rate: Decimal, cost_basis: i128) -> Option<Micros> {
        let unit = price
            .decimal()
            .to_scaled_integer(MAX_AMOUNT_DECIMALS)?
            .checked_mul(PRICE_TO_COST_FACTOR)?;
        let value = self.quantity.checked_mul(unit)?.checked_sub(cost_basis)?;
        Micros::new(i64::try_from(to_base_micros(value, base_rate)?).ok()?)
    }
}

fn is_within_quantity_bound(quantity: i128) -> bool {
    quantity.unsigned_abs() < QUANTITY_UNITS_BOUND.unsigned_abs()
}

/// Converts an amount of the quote currency, in units of 1e-20, to millionths of the base currency, rounded down.
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

/// Returns the increment, 0 or 1, that rounds a quotient with this remainder half to even.
fn half_even_increment(quotient: u128, remainder: u128, divisor: u128) -> u128 {
    let below = divisor - remainder;
    u128::from(remainder > below || (remainder == below && quotient % 2 == 1))
}

/// Returns the quotient and the remainder of multiplicand × multiplier ÷ divisor, also where the product exceeds 128 bits.
fn mul_div(multiplicand: u128, multiplier: u128, divisor: u128) -> Option<(u128, u128)> {
    if divisor == 0 || divisor >= MUL_DIV_DIVISOR_BOUND {
        return None;
    }
    if let Some(product) = multiplicand.checked_mul(multiplier) {
        return Some((product / divisor, product % divisor));
    }
    // Long division, bit by bit of the multiplicand. The product of the bits so far is quotient × divisor + rest, with
    // rest < divisor.
    let (whole, part) = (multiplier / divisor, multiplier % divisor);
    let (mut quotient, mut rest) = (0_u128, 0_u128);
    for bit in (0..u128::BITS).rev() {
        quotient = quotient.checked_mul(2)?;
        rest *= 2;
        if multiplicand >> bit & 1 == 1 {
            quotient = quotient.checked_add(whole)?;
            // Rest and part are below the divisor after one subtraction, so that their sum fits below twice its bound.
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
