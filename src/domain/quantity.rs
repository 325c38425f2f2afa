//! Prices and quantities: positive, in range, at most eight decimals.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::domain::decimal::Decimal;

/// The most decimals of a price or a quantity.
pub const MAX_AMOUNT_DECIMALS: u32 = 8;
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
}
