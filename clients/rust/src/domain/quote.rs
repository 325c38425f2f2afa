//! Market quotes, and the reference price they give.

use std::time::Duration;

use crate::domain::decimal::Decimal;
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, Price};
use crate::domain::time::Timestamp;

/// How far a quote's timestamp may lie ahead of this machine's clock. Clocks differ a little; a quote from far ahead would
/// supersede every later one until that time.
pub const MAX_QUOTE_CLOCK_SKEW: Duration = Duration::from_secs(5);

/// A consistent quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// The reference price: the price of the last trade, or else the midpoint of bid and ask.
    pub price: Price,
    /// The market's time of the quote.
    pub timestamp: Timestamp,
}

/// Why prices do not form a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// There is neither a last price nor both bid and ask.
    #[error("is required unless bid and ask are both given")]
    MissingPrice,
    /// The bid is above the ask.
    #[error("must not be above ask")]
    Crossed,
}

impl Quote {
    /// Returns the quote of bid, ask and last price. A midpoint is rounded to eight decimals, ties to even.
    ///
    /// # Errors
    /// When the prices give no reference price, or the bid is above the ask.
    pub fn from_prices([bid, ask, last]: [Option<Price>; 3], timestamp: Timestamp) -> Result<Self, QuoteError> {
        let midpoint = match (bid, ask) {
            (Some(bid), Some(ask)) if bid > ask => return Err(QuoteError::Crossed),
            (Some(bid), Some(ask)) => mid_price(bid, ask),
            _ => None,
        };
        let price = last.or(midpoint).ok_or(QuoteError::MissingPrice)?;
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
    fn last_price_takes_precedence_over_the_midpoint() {
        let price = |text: &str| {
            Some(text)
                .filter(|text| !text.is_empty())
                .map(|text| Price::new(text.parse().unwrap()).unwrap())
        };
        let now = Timestamp::now();
        // bid, ask, last → price
        for (bid, ask, last, expected) in [
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
            assert_eq!(got, expected.map(str::to_owned), "{bid} {ask} {last}");
        }
    }
}
