//! Exact amounts: integers of 10⁻⁸, the precision of every asset here.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The digits after the decimal point.
pub const DECIMALS: usize = 8;
/// The units of one whole.
const SCALE: i128 = 100_000_000;
/// The most digits before the decimal point. The product of two amounts of this size, scaled, fits into 128 bits.
const MAX_WHOLE_DIGITS: usize = 10;

/// A price, a quantity or a balance: a number of units of 10⁻⁸.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(i128);

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is no decimal number.
    #[error("must be a decimal number such as 0.001")]
    Malformed,
    /// The number has more than [`DECIMALS`] digits after the decimal point.
    #[error("must have at most 8 decimals")]
    TooPrecise,
    /// The number has too many digits before the decimal point.
    #[error("must have at most 10 digits before the decimal point")]
    TooLarge,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One whole.
    pub const ONE: Self = Self(SCALE);

    /// Returns the amount of a number of units of 10⁻⁸.
    pub const fn from_units(units: i128) -> Self {
        Self(units)
    }

    /// Returns the number of units of 10⁻⁸.
    pub const fn units(self) -> i128 {
        self.0
    }

    /// Reports whether the amount is greater than zero.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// Reports whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the product, rounded down to a unit.
    #[must_use]
    pub const fn times(self, other: Self) -> Self {
        Self((self.0 * other.0).div_euclid(SCALE))
    }

    /// Returns the quotient, rounded down to a unit; zero where the divisor is zero.
    #[must_use]
    pub const fn divided_by(self, divisor: Self) -> Self {
        match divisor.0 {
            0 => Self::ZERO,
            units => Self((self.0 * SCALE).div_euclid(units)),
        }
    }

    /// Returns the greatest multiple of a step that is not greater; the amount itself where the step is zero.
    #[must_use]
    pub const fn floor_to(self, step: Self) -> Self {
        match step.0 {
            0 => self,
            units => Self(self.0 - self.0.rem_euclid(units)),
        }
    }

    /// Reports whether the amount is a multiple of a step; every amount is one of the step zero.
    pub const fn is_multiple_of(self, step: Self) -> bool {
        step.0 == 0 || self.0.rem_euclid(step.0) == 0
    }

    /// Returns the number of decimals that the amount uses, 0 to 8.
    pub fn used_decimals(self) -> usize {
        let mut units = self.0.unsigned_abs() % SCALE.unsigned_abs();
        let mut decimals = DECIMALS;
        while decimals > 0 && units.is_multiple_of(10) {
            units /= 10;
            decimals -= 1;
        }
        decimals
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Parses a decimal number without an exponent, with or without a sign.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) {
            return Err(AmountError::Malformed);
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.len() > MAX_WHOLE_DIGITS {
            return Err(AmountError::TooLarge);
        }
        if fraction.len() > DECIMALS {
            return Err(AmountError::TooPrecise);
        }
        let padded = format!("0{whole}{fraction:0<DECIMALS$}");
        let units: i128 = padded.parse().map_err(|_| AmountError::Malformed)?;
        Ok(Self(if is_negative { -units } else { units }))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        let scale = SCALE.unsigned_abs();
        write!(formatter, "{sign}{}.{:08}", units / scale, units % scale)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Sums of accepted amounts may have more digits than one accepted amount.
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let padded = format!("{whole}{fraction:0<DECIMALS$}");
        padded.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_parsed_exactly_or_refused() {
        for (text, expected) in [
            ("0.1", Ok("0.10000000")),
            ("30000", Ok("30000.00000000")),
            ("-0.00000001", Ok("-0.00000001")),
            ("1.000000000000", Ok("1.00000000")),
            ("0.000000001", Err(AmountError::TooPrecise)),
            ("12345678901", Err(AmountError::TooLarge)),
            ("", Err(AmountError::Malformed)),
            (".5", Err(AmountError::Malformed)),
            ("5.", Err(AmountError::Malformed)),
            ("1e3", Err(AmountError::Malformed)),
            ("--1", Err(AmountError::Malformed)),
        ] {
            let parsed: Result<Amount, _> = text.parse();
            assert_eq!(
                parsed.map(|amount| amount.to_string()),
                expected.map(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn stored_amounts_are_read_again() {
        for units in [0, 1, -1, 123_456_789_012_345_678_901, -100_000_000] {
            let amount = Amount::from_units(units);
            let json = serde_json::to_string(&amount).unwrap();
            assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount, "{json}");
        }
    }

    #[test]
    fn products_and_quotients_round_down() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        assert_eq!(amount("0.00000003").times(amount("0.5")), amount("0.00000001"));
        assert_eq!(amount("1").divided_by(amount("3")), amount("0.33333333"));
        assert_eq!(amount("1.239").floor_to(amount("0.01")), amount("1.23"));
        assert_eq!(amount("0.00001").used_decimals(), 5);
    }
}
