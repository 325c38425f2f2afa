//! Prices and quantities: positive, in range, at most eight decimals.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::domain::decimal::Decimal;
use crate::domain::money::MAX_EXACT_INTEGER;

/// The most decimals of a price or a quantity.
pub const MAX_AMOUNT_DECIMALS: u32 = 8;
/// A signed quantity in units of 1e-8 of the asset: what the shared sums count in, whatever an instrument's lot is.
pub type QuantityUnits = i128;
/// The greatest sum of a quantity, either way, in units of 1e-8: its whole part is exact in a script.
pub const MAX_QUANTITY_UNITS: QuantityUnits = MAX_EXACT_INTEGER as QuantityUnits * 100_000_000;
/// Decimals of an average price.
pub const AVERAGE_PRICE_DECIMALS: u32 = 12;
/// The upper bound of prices, exclusive.
pub const PRICE_BOUND: i64 = 1_000_000_000;
/// The upper bound of quantities, exclusive.
pub const QUANTITY_BOUND: i64 = 100_000_000_000;

/// Why a number is not a price or a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The number is zero or negative.
    #[error("must be above zero")]
    NotPositive,
    /// The number is not below this bound.
    #[error("must be below {0}")]
    TooLarge(i64),
    /// The number has more than eight decimals.
    #[error("must have at most 8 decimals")]
    TooManyDecimals,
}

/// Returns a quantity in units of 1e-8; `None` where it has more decimals, or is out of the range of the sums.
pub fn to_quantity_units(quantity: Decimal) -> Option<QuantityUnits> {
    let units = quantity.to_scaled_integer(MAX_AMOUNT_DECIMALS)?;
    (-MAX_QUANTITY_UNITS..=MAX_QUANTITY_UNITS)
        .contains(&units)
        .then_some(units)
}

/// Returns a sum of quantities as a number of the asset. A sum out of range is shown as zero: no script books one.
pub fn from_quantity_units(units: QuantityUnits) -> Decimal {
    Decimal::from_parts(units, MAX_AMOUNT_DECIMALS).unwrap_or(Decimal::ZERO)
}

fn check_range(number: Decimal, bound: i64) -> Result<Decimal, AmountError> {
    if !number.is_positive() {
        Err(AmountError::NotPositive)
    } else if number >= Decimal::from(bound) {
        Err(AmountError::TooLarge(bound))
    } else if number.scale() > MAX_AMOUNT_DECIMALS {
        Err(AmountError::TooManyDecimals)
    } else {
        Ok(number)
    }
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident, $bound:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Decimal);

        impl $name {
            /// Returns the amount after checking its range.
            ///
            /// # Errors
            /// When the number is not positive, is too large, or has more than eight decimals.
            pub fn new(number: Decimal) -> Result<Self, AmountError> {
                check_range(number, $bound).map(Self)
            }

            /// Returns the number.
            pub fn decimal(self) -> Decimal {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(Decimal::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

amount!(
    /// A price in the quote currency: above zero, below 10^9, at most 8 decimals.
    Price, PRICE_BOUND
);
amount!(
    /// A quantity of the traded asset: above zero, below 10^11, at most 8 decimals.
    Quantity, QUANTITY_BOUND
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_positive_bounded_and_of_eight_decimals() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        assert!(Price::new(number("999999999.99999999")).is_ok());
        assert_eq!(
            Price::new(number("1000000000")),
            Err(AmountError::TooLarge(PRICE_BOUND))
        );
        assert_eq!(Price::new(number("0")), Err(AmountError::NotPositive));
        assert_eq!(Price::new(number("-1")), Err(AmountError::NotPositive));
        assert_eq!(Price::new(number("0.000000001")), Err(AmountError::TooManyDecimals));
        assert!(Quantity::new(number("99999999999.99999999")).is_ok());
        assert_eq!(
            Quantity::new(number("100000000000")),
            Err(AmountError::TooLarge(QUANTITY_BOUND))
        );
    }

    #[test]
    fn quantities_count_in_units_of_1e_8_up_to_the_range_of_the_sums() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        for (quantity, units) in [
            ("0", Some(0)),
            ("0.00000001", Some(1)),
            ("-0.00000001", Some(-1)),
            ("1.5", Some(150_000_000)),
            ("-99999999999.99999999", Some(-9_999_999_999_999_999_999)),
            ("9007199254740991", Some(MAX_QUANTITY_UNITS)),
            ("-9007199254740991", Some(-MAX_QUANTITY_UNITS)),
            // More than a sum can hold, or than its unit can express.
            ("9007199254740991.00000001", None),
            ("-9007199254740991.00000001", None),
            ("0.000000001", None),
        ] {
            assert_eq!(to_quantity_units(number(quantity)), units, "{quantity}");
            if let Some(units) = units {
                assert_eq!(from_quantity_units(units), number(quantity), "{quantity}");
            }
        }
        assert_eq!(from_quantity_units(i128::MAX), Decimal::ZERO);
    }
}
