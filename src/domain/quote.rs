//! What a market says of a price.

use std::time::Duration;

use crate::domain::decimal::Decimal;
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, Price};
use crate::domain::time::Timestamp;

/// How far ahead of a machine's clock a quote's timestamp may lie: clocks differ a little, and a quote from far ahead would
/// shut out every true one until then.
pub const MAX_QUOTE_CLOCK_SKEW: Duration = Duration::from_secs(5);

/// A quote whose prices make sense together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// The price that stands for the market: that of the last trade, or else the middle of bid and ask.
    pub price: Price,
    /// When the market said so.
    pub timestamp: Timestamp,
}

/// Why prices make no quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// Neither a last price nor both bid and ask.
    #[error("is required where there are not both bid and ask")]
    MissingPrice,
    /// The bid lies above the ask.
    #[error("must not be above ask")]
    Crossed,
}

impl Quote {
    /// Returns the quote of these prices; the middle is rounded to eight decimals, ties to even.
    ///
    /// # Errors
    /// When there is no price to be had of them.
    pub fn from_prices([bid, ask, last]: [Option<Price>; 3], timestamp: Timestamp) -> Result<Self, QuoteError> {
        let middle = match (bid, ask) {
            (Some(bid), Some(ask)) if bid > ask => return Err(QuoteError::Crossed),
            (Some(bid), Some(ask)) => mid_price(bid, ask),
            _ => None,
        };
        let price = last.or(middle).ok_or(QuoteError::MissingPrice)?;
        Ok(Self { price, timestamp })
    }
}

fn mid_price(bid: Price, ask: Price) -> Option<Price> {
    let both = bid.decimal().checked_add(ask.decimal())?;
    Price::new(both.div_half_even(Decimal::from(2), MAX_AMOUNT_DECIMALS)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_price_stands_before_the_middle() {
        let price = |text: &str| {
            Some(text)
                .filter(|text| !text.is_empty())
                .map(|text| Price::new(text.parse().unwrap()).unwrap())
        };
        let now = Timestamp::now();
        // bid, ask, last → price
        for (bid, ask, last, wanted) in [
            ("29999", "30001", "29990", Ok("29990")),
            ("29999", "30001", "", Ok("30000")),
            ("30000", "30000", "", Ok("30000")),
            ("0.00000001", "0.00000002", "", Ok("0.00000002")),
            ("0.00000002", "0.00000003", "", Ok("0.00000002")),
            ("999999999.99999998", "999999999.99999999", "", Ok("999999999.99999998")),
            ("", "", "30000", Ok("30000")),
            ("29999", "", "30000", Ok("30000")),
            ("29999", "", "", Err(QuoteError::MissingPrice)),
            ("", "30001", "", Err(QuoteError::MissingPrice)),
            ("", "", "", Err(QuoteError::MissingPrice)),
            ("30001", "29999", "", Err(QuoteError::Crossed)),
            ("30001", "29999", "30000", Err(QuoteError::Crossed)),
        ] {
            let quote = Quote::from_prices([price(bid), price(ask), price(last)], now);
            let got = quote.map(|quote| quote.price.decimal().to_string());
            assert_eq!(got, wanted.map(str::to_owned), "{bid} {ask} {last}");
        }
    }
}
