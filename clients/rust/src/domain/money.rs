//! Money in the base currency, in whole millionths: the unit of the shared sums.

use std::fmt;

use crate::domain::decimal::Decimal;

/// The largest integer that the store's scripts compare exactly (their numbers are doubles): 2^53 − 1.
pub const MAX_EXACT_INTEGER: i64 = 9_007_199_254_740_991;
/// Decimals of [`Micros`].
pub const MICROS_SCALE: u32 = 6;

/// An amount of the base currency in units of 1e-6, at most ±(2^53 − 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(i64);

/// The direction in which a fraction of a unit is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Towards plus infinity: for amounts owed, or counted against a limit.
    Up,
    /// Towards minus infinity: for amounts received, and for limits.
    Down,
}

impl Micros {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// Returns `units` millionths, or `None` outside ±(2^53 − 1).
    pub fn new(units: i64) -> Option<Self> {
        (-MAX_EXACT_INTEGER..=MAX_EXACT_INTEGER)
            .contains(&units)
            .then_some(Self(units))
    }

    /// Returns the number of millionths.
    pub fn units(self) -> i64 {
        self.0
    }

    /// Returns a decimal amount rounded to millionths, or `None` outside the exact range.
    pub fn from_decimal(amount: Decimal, rounding: Rounding) -> Option<Self> {
        let (mantissa, scale) = amount.parts();
        micros_from_scaled(mantissa, scale, rounding)
    }

    /// Returns the product of three factors, such as price × quantity × rate, rounded once. `None` outside the exact range,
    /// so that a caller refuses instead of counting a wrong sum.
    pub fn from_product(factors: [Decimal; 3], rounding: Rounding) -> Option<Self> {
        let (mut mantissa, mut scale) = (1i128, 0u32);
        for factor in factors {
            let (digits, decimals) = factor.parts();
            mantissa = mantissa.checked_mul(digits)?;
            scale += decimals;
        }
        micros_from_scaled(mantissa, scale, rounding)
    }

    /// Returns the exact difference, or `None` outside the exact range.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Self::new(self.0.checked_sub(other.0)?)
    }

    /// Returns the amount as a decimal number of the base currency.
    pub fn decimal(self) -> Decimal {
        Decimal::from_parts(i128::from(self.0), MICROS_SCALE).unwrap_or(Decimal::ZERO)
    }
}

fn micros_from_scaled(mantissa: i128, scale: u32, rounding: Rounding) -> Option<Micros> {
    Micros::new(rescale(mantissa, scale, MICROS_SCALE, rounding)?)
}

/// Returns a decimal amount rounded to whole units of 10^-`target_scale`, or `None` outside ±(2^53 − 1).
pub fn round_to_units(amount: Decimal, target_scale: u32, rounding: Rounding) -> Option<i64> {
    let (mantissa, scale) = amount.parts();
    rescale(mantissa, scale, target_scale, rounding)
        .filter(|units| (-MAX_EXACT_INTEGER..=MAX_EXACT_INTEGER).contains(units))
}

fn rescale(mantissa: i128, scale: u32, target_scale: u32, rounding: Rounding) -> Option<i64> {
    let units = if scale <= target_scale {
        mantissa.checked_mul(10i128.checked_pow(target_scale - scale)?)?
    } else {
        let unit = 10i128.checked_pow(scale - target_scale)?;
        let floor = mantissa.div_euclid(unit);
        if rounding == Rounding::Up && mantissa.rem_euclid(unit) != 0 {
            floor + 1
        } else {
            floor
        }
    };
    i64::try_from(units).ok()
}

impl fmt::Display for Micros {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.decimal(), formatter)
    }
}

impl fmt::Debug for Micros {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.decimal(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_is_rounded_once_in_the_given_direction() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        let product = |price, quantity, rounding| {
            Micros::from_product([number(price), number(quantity), Decimal::from(1)], rounding).map(Micros::units)
        };
        assert_eq!(product("30000", "0.001", Rounding::Up), Some(30_000_000));
        assert_eq!(product("30000.01", "0.00001", Rounding::Up), Some(300_001));
        assert_eq!(product("0.0000001", "0.1", Rounding::Up), Some(1));
        assert_eq!(product("0.0000001", "0.1", Rounding::Down), Some(0));
        assert_eq!(product("-0.0000001", "0.1", Rounding::Down), Some(-1));
        assert_eq!(product("9007199254.740991", "1", Rounding::Up), Some(MAX_EXACT_INTEGER));
        assert_eq!(product("9007199254.740992", "1", Rounding::Up), None);
        assert_eq!(
            product("999999999.99999999", "99999999999.99999999", Rounding::Up),
            None
        );
    }
}
