//! Adjustments: opening positions, deposits and withdrawals, corrections. They are booked as they are told, by no rule.

use std::fmt::Display;

use sha2::{Digest, Sha256};

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId, ContentHash, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::intent::Symbol;
use crate::domain::money::{MAX_EXACT_INTEGER, Micros, Rounding};
use crate::domain::quantity::Price;
use crate::domain::settlement::SumDeltas;

/// One adjustment, as an operator tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// What it is booked once by.
    pub adjustment_id: AdjustmentId,
    /// The account whose sums it moves.
    pub account_id: AccountId,
    /// What it moves.
    pub effect: AdjustmentEffect,
    /// Who makes it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What an adjustment moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdjustmentEffect {
    /// A position that was not traded here.
    Position {
        /// The instrument's venue.
        venue: VenueId,
        /// The instrument's symbol.
        symbol: Symbol,
        /// How much is added; below zero, how much is taken away.
        quantity: Decimal,
        /// What it is valued at, in the quote currency.
        price: Price,
    },
    /// Cash in the base currency: above zero a deposit, below zero a withdrawal.
    Cash(Micros),
}

impl Adjustment {
    /// Returns the hash of everything but the id: what a repeated id is compared by.
    pub fn content_hash(&self) -> ContentHash {
        let mut hasher = Sha256::new();
        let mut field = |value: &dyn Display| {
            let text = value.to_string();
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        field(&self.account_id);
        match &self.effect {
            AdjustmentEffect::Position {
                venue,
                symbol,
                quantity,
                price,
            } => {
                field(&"position");
                field(venue);
                field(symbol);
                field(quantity);
                field(price);
            }
            AdjustmentEffect::Cash(amount) => {
                field(&"cash");
                field(amount);
            }
        }
        field(&self.actor);
        field(&self.reason);
        ContentHash::from_digest(&hasher.finalize())
    }
}

/// Why a position cannot be adjusted by a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdjustmentError {
    /// It is no whole number of lots.
    #[error("must be a multiple of the lot size {0}")]
    NotLotMultiple(Decimal),
    /// Its lots or its value cannot be counted exactly.
    #[error("is worth more than can be counted exactly (9007199254.740991 of the base currency)")]
    ExceedsExactRange,
}

/// Returns how far a position adjustment moves the sums: position and long exposure up by it, short exposure down, and
/// the cash flow by what it is worth in the base currency, rounded against us.
///
/// # Errors
/// When the quantity is no whole number of lots, or cannot be counted exactly.
pub fn position_adjustment_deltas(
    instrument: &Instrument,
    quantity: Decimal,
    price: Price,
) -> Result<SumDeltas, AdjustmentError> {
    let lot_size = instrument.lot_size.decimal();
    let lots = quantity
        .count_multiples_of(lot_size)
        .ok_or(AdjustmentError::NotLotMultiple(lot_size))?;
    let lots = i64::try_from(lots).map_err(|_| AdjustmentError::ExceedsExactRange)?;
    if lots.abs() > MAX_EXACT_INTEGER {
        return Err(AdjustmentError::ExceedsExactRange);
    }
    let paid = [quantity.negated(), price.decimal(), instrument.base_rate];
    let cash_flow = Micros::from_product(paid, Rounding::Down).ok_or(AdjustmentError::ExceedsExactRange)?;
    Ok(SumDeltas {
        long: lots,
        short: -lots,
        position: lots,
        cash_flow: cash_flow.units(),
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
    fn a_position_moves_its_sums_and_is_rounded_against_us() {
        let moved = |lot: &str, rate: &str, quantity: &str, price: &str| {
            position_adjustment_deltas(
                &instrument(lot, rate),
                number(quantity),
                Price::new(number(price)).unwrap(),
            )
            .map(|deltas| (deltas.position, deltas.long, deltas.short, deltas.cash_flow))
        };
        assert_eq!(moved("0.01", "1", "1.5", "180"), Ok((150, 150, -150, -270_000_000)));
        assert_eq!(moved("0.01", "1", "-1.5", "180"), Ok((-150, -150, 150, 270_000_000)));
        // 1e-8 × 10 = 1e-7 of the base currency: paid it is a whole millionth, received it is none.
        assert_eq!(moved("0.00000001", "1", "0.00000001", "10"), Ok((1, 1, -1, -1)));
        assert_eq!(moved("0.00000001", "1", "-0.00000001", "10"), Ok((-1, -1, 1, 0)));
        assert_eq!(moved("1", "0.5", "3", "2.000001"), Ok((3, 3, -3, -3_000_002)));
        assert_eq!(
            moved("0.01", "1", "0.001", "1"),
            Err(AdjustmentError::NotLotMultiple(number("0.01")))
        );
        assert_eq!(
            moved("1", "1", "99999999999", "999999999"),
            Err(AdjustmentError::ExceedsExactRange)
        );
        assert_eq!(
            moved("0.00000001", "1", "99999999999", "0.00000001"),
            Err(AdjustmentError::ExceedsExactRange)
        );
    }

    #[test]
    fn the_content_is_everything_but_the_id() {
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
        let first = adjustment("1", position("1.50"), "r").content_hash();
        assert_eq!(adjustment("2", position("1.5"), "r").content_hash(), first);
        for other in [
            adjustment("1", position("-1.5"), "r"),
            adjustment("1", position("1.5"), "s"),
            adjustment("1", cash(1), "r"),
        ] {
            assert_ne!(other.content_hash(), first);
        }
    }
}
