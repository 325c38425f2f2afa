//! Adjustments: opening positions, deposits, withdrawals and corrections. They are booked as requested; no risk rule
//! checks them.

use crate::domain::content_hash::{ContentHash, ContentHasher};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::money::{Micros, Rounding};
use crate::domain::quantity::{Price, to_quantity_units};
use crate::domain::settlement::SumDeltas;
use crate::domain::symbol::Symbol;

/// An adjustment that an operator requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The caller's id: an adjustment is booked once per id.
    pub adjustment_id: AdjustmentId,
    /// The account to adjust.
    pub account_id: AccountId,
    /// What the adjustment changes.
    pub effect: AdjustmentEffect,
    /// The operator who requests it.
    pub actor: String,
    /// Why it is made.
    pub reason: String,
}

/// What an adjustment changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdjustmentEffect {
    /// A position that was not traded here.
    Position {
        /// The instrument's venue.
        venue: VenueId,
        /// The instrument's symbol.
        symbol: Symbol,
        /// The quantity to add; below zero, the quantity to remove.
        quantity: Decimal,
        /// The price that the quantity is valued at, in the quote currency.
        price: Price,
    },
    /// Cash in the base currency: above zero a deposit, below zero a withdrawal.
    Cash(Micros),
    /// A fee of fills here that had no price when they were booked.
    Fee {
        /// The venue of the instrument that was traded.
        venue: VenueId,
        /// The symbol of the instrument.
        symbol: Symbol,
        /// The fee, in its currency; below zero for a rebate.
        amount: Decimal,
        /// The currency.
        currency: String,
        /// The value of one unit of the currency, in the base currency; `None` for its rate in the settings.
        price: Option<Price>,
        /// How many fills the fee is of.
        fills: u32,
    },
}

impl Adjustment {
    /// Returns the hash that identifies a repetition under the same id. It covers every field except the id.
    pub fn content_hash(&self) -> ContentHash {
        let mut hasher = ContentHasher::default();
        hasher.add(self.account_id.as_str());
        match &self.effect {
            AdjustmentEffect::Position {
                venue,
                symbol,
                quantity,
                price,
            } => {
                hasher.add("position");
                hasher.add(venue.as_str());
                hasher.add(symbol.as_str());
                hasher.add(&quantity.to_string());
                hasher.add(&price.to_string());
            }
            AdjustmentEffect::Cash(amount) => {
                hasher.add("cash");
                hasher.add(&amount.to_string());
            }
            AdjustmentEffect::Fee {
                venue,
                symbol,
                amount,
                currency,
                price,
                fills,
            } => {
                hasher.add("fee");
                hasher.add(venue.as_str());
                hasher.add(symbol.as_str());
                hasher.add(&amount.to_string());
                hasher.add(currency);
                hasher.add(&price.map_or_else(|| "rate".to_owned(), |price| price.to_string()));
                hasher.add(&fills.to_string());
            }
        }
        hasher.add(&self.actor);
        hasher.add(&self.reason);
        hasher.finish()
    }
}

/// Why a position cannot be adjusted by a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdjustmentError {
    /// Its quantity or its value exceeds the range of exact numbers.
    #[error("is worth more than can be counted exactly (9007199254.740991 of the base currency)")]
    ExceedsExactRange,
}

/// Returns how far a position adjustment moves the shared sums. It raises position and long exposure by its quantity, lowers
/// the short exposure by it, and lowers the cash flow by its value in the base currency, rounded against us.
///
/// # Errors
/// When an amount cannot be counted exactly.
pub fn position_adjustment_deltas(
    instrument: &Instrument,
    quantity: Decimal,
    price: Price,
) -> Result<SumDeltas, AdjustmentError> {
    let moved = to_quantity_units(quantity).ok_or(AdjustmentError::ExceedsExactRange)?;
    let paid = [quantity.negated(), price.decimal(), instrument.base_rate];
    let cash_flow = Micros::from_product(paid, Rounding::Down).ok_or(AdjustmentError::ExceedsExactRange)?;
    Ok(SumDeltas {
        long: moved,
        short: -moved,
        position: moved,
        cash_flow: cash_flow.units(),
        ..SumDeltas::default()
    })
}

/// Returns how far the fee of some fills moves the shared sums at a price in the base currency, rounded against us: the
/// fees of the day, what fills have made, and the number of fills whose fee has no price.
///
/// # Errors
/// When the amount cannot be counted exactly.
pub fn fee_adjustment_deltas(amount: Decimal, price: Price, fills: u32) -> Result<SumDeltas, AdjustmentError> {
    let factors = [amount, price.decimal(), Decimal::from(1)];
    let fees = Micros::from_product(factors, Rounding::Up).ok_or(AdjustmentError::ExceedsExactRange)?;
    Ok(SumDeltas {
        fees: fees.units(),
        fill_result: -fees.units(),
        unpriced_fees: -i64::from(fills),
        ..SumDeltas::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::BrokerId;
    use crate::domain::quantity::Quantity;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn instrument(lot_size: &str, base_rate: &str) -> Instrument {
        let (price, quantity) = (Price::new(number("1")).unwrap(), Quantity::new(number("1")).unwrap());
        Instrument {
            broker: BrokerId::new("b").unwrap(),
            venue: VenueId::new("v").unwrap(),
            symbol: Symbol::parse("S").unwrap(),
            reference_price: price,
            tick_size: price,
            lot_size: Quantity::new(number(lot_size)).unwrap(),
            max_order_size: quantity,
            max_position: quantity,
            max_notional: number("1"),
            can_short: false,
            base_asset: None,
            quote: "USD".to_owned(),
            base_rate: number(base_rate),
        }
    }

    #[test]
    fn position_adjustment_moves_the_sums_and_rounds_against_us() {
        let deltas = |lot: &str, rate: &str, quantity: &str, price: &str| {
            position_adjustment_deltas(
                &instrument(lot, rate),
                number(quantity),
                Price::new(number(price)).unwrap(),
            )
            .map(|deltas| (deltas.position, deltas.long, deltas.short, deltas.cash_flow))
        };
        let (one, half) = (100_000_000, 50_000_000);
        assert_eq!(
            deltas("0.01", "1", "1.5", "180"),
            Ok((one + half, one + half, -one - half, -270_000_000))
        );
        assert_eq!(
            deltas("0.01", "1", "-1.5", "180"),
            Ok((-one - half, -one - half, one + half, 270_000_000))
        );
        // 1e-8 × 10 = 1e-7 of the base currency: a payment rounds to one millionth, a receipt to zero.
        assert_eq!(deltas("0.00000001", "1", "0.00000001", "10"), Ok((1, 1, -1, -1)));
        assert_eq!(deltas("0.00000001", "1", "-0.00000001", "10"), Ok((-1, -1, 1, 0)));
        assert_eq!(
            deltas("1", "0.5", "3", "2.000001"),
            Ok((3 * one, 3 * one, -3 * one, -3_000_002))
        );
        // A holding is corrected by any quantity of 8 decimals, whatever the lot is.
        assert_eq!(
            deltas("0.01", "1", "0.00100001", "1"),
            Ok((100_001, 100_001, -100_001, -1_001))
        );
        assert_eq!(
            deltas("0.01", "1", "0.000000001", "1"),
            Err(AdjustmentError::ExceedsExactRange)
        );
        assert_eq!(
            deltas("1", "1", "99999999999", "999999999"),
            Err(AdjustmentError::ExceedsExactRange)
        );
        // The sums count a quantity beyond the range of the lots of an order.
        let most = 99_999_999_999 * one;
        assert_eq!(
            deltas("0.00000001", "1", "99999999999", "0.00000001"),
            Ok((most, most, -most, -1_000_000_000))
        );
        assert_eq!(
            deltas("1", "1", "9007199254740992", "0.00000001"),
            Err(AdjustmentError::ExceedsExactRange)
        );
    }

    #[test]
    fn fee_is_a_loss_of_its_day_at_its_price_and_rounds_against_us() {
        let deltas = |amount: &str, price: &str| {
            fee_adjustment_deltas(number(amount), Price::new(number(price)).unwrap(), 3)
                .map(|deltas| (deltas.fees, deltas.fill_result, deltas.unpriced_fees, deltas.position))
        };
        assert_eq!(deltas("0.002", "612.5"), Ok((1_225_000, -1_225_000, -3, 0)));
        assert_eq!(deltas("0.00000001", "1"), Ok((1, -1, -3, 0)));
        assert_eq!(deltas("-0.00000001", "1"), Ok((0, 0, -3, 0)));
        assert_eq!(
            deltas("99999999999", "999999999"),
            Err(AdjustmentError::ExceedsExactRange)
        );
    }

    #[test]
    fn content_hash_covers_everything_but_the_id() {
        let adjustment = |id: &str, effect: AdjustmentEffect, reason: &str| Adjustment {
            adjustment_id: AdjustmentId::new(id).unwrap(),
            account_id: AccountId::new("a").unwrap(),
            effect,
            actor: "mira".to_owned(),
            reason: reason.to_owned(),
        };
        let position = |quantity: &str| AdjustmentEffect::Position {
            venue: VenueId::new("v").unwrap(),
            symbol: Symbol::parse("S").unwrap(),
            quantity: number(quantity),
            price: Price::new(number("2")).unwrap(),
        };
        let cash = |units| AdjustmentEffect::Cash(Micros::new(units).unwrap());
        let fee = |amount: &str, price: Option<&str>, fills| {
            let effect = AdjustmentEffect::Fee {
                venue: VenueId::new("v").unwrap(),
                symbol: Symbol::parse("S").unwrap(),
                amount: number(amount),
                currency: "BNB".to_owned(),
                price: price.map(|price| Price::new(number(price)).unwrap()),
                fills,
            };
            adjustment("1", effect, "r")
        };
        assert_ne!(
            fee("1.5", None, 1).content_hash(),
            fee("1.5", Some("2"), 1).content_hash()
        );
        let first = adjustment("1", position("1.50"), "r").content_hash();
        assert_eq!(adjustment("2", position("1.5"), "r").content_hash(), first);
        for other in [
            adjustment("1", position("-1.5"), "r"),
            adjustment("1", position("1.5"), "s"),
            adjustment("1", cash(1), "r"),
            fee("1.5", Some("2"), 1),
            fee("1.5", None, 1),
            fee("1.5", Some("2"), 2),
            fee("1", Some("2"), 1),
        ] {
            assert_ne!(other.content_hash(), first);
        }
    }
}
