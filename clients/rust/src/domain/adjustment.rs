//! Adjustments: opening positions, deposits, withdrawals and corrections. They are booked as requested; no risk rule
//! checks them.

use crate::domain::content_hash::{ContentHash, ContentHasher};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId, VenueId};
use crate::domain::money::Micros;
use crate::domain::quantity::Price;
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
    /// A fee of one fill that no order here made, in a currency without a rate: the account opens nothing until another
    /// adjustment prices it.
    UnpricedFee {
        /// The venue of the instrument that was traded.
        venue: VenueId,
        /// The symbol of the instrument.
        symbol: Symbol,
        /// The fee, in its currency; below zero for a rebate.
        amount: Decimal,
        /// The currency.
        currency: String,
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
            AdjustmentEffect::UnpricedFee {
                venue,
                symbol,
                amount,
                currency,
            } => {
                hasher.add("unpriced_fee");
                hasher.add(venue.as_str());
                hasher.add(symbol.as_str());
                hasher.add(&amount.to_string());
                hasher.add(currency);
            }
        }
        hasher.add(&self.actor);
        hasher.add(&self.reason);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
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
            adjustment(
                "1",
                AdjustmentEffect::UnpricedFee {
                    venue: VenueId::new("v").unwrap(),
                    symbol: Symbol::parse("S").unwrap(),
                    amount: number("1.5"),
                    currency: "BNB".to_owned(),
                },
                "r",
            ),
        ] {
            assert_ne!(other.content_hash(), first);
        }
    }
}
