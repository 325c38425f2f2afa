//! What an algorithm wants done, normalised.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, ContentHash, Tag, VenueId};
use crate::domain::order_terms::{Mode, OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::time::Timestamp;

/// The most tags of an intent.
pub const MAX_TAGS: usize = 32;
/// The longest symbol.
pub const MAX_SYMBOL_LENGTH: usize = 32;

/// A normalised symbol: `btc/usdt` is `BTCUSDT`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

/// A text that names no symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1-32 printable ASCII characters (`/`, `-` and spaces are left out)")]
pub struct SymbolError;

impl Symbol {
    /// Returns the symbol with `/`, `-` and spaces removed, in upper case.
    ///
    /// # Errors
    /// When nothing is left, or more than 32 characters, or anything but printable ASCII.
    pub fn parse(text: &str) -> Result<Self, SymbolError> {
        if text.len() > 4 * MAX_SYMBOL_LENGTH || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(SymbolError);
        }
        let kept: String = text
            .chars()
            .filter(|c| !matches!(c, '/' | '-' | ' '))
            .map(|c| c.to_ascii_uppercase())
            .collect();
        if kept.is_empty() || kept.len() > MAX_SYMBOL_LENGTH {
            return Err(SymbolError);
        }
        Ok(Self(Arc::from(kept)))
    }

    /// Returns the symbol's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

/// What the caller says of the account's risk; it can tighten a limit, never loosen one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RiskOverrides {
    /// Profit realised today, in the base currency.
    pub realized_pnl: Option<Decimal>,
    /// Profit not realised yet, in the base currency.
    pub unrealized_pnl: Option<Decimal>,
    /// The loss at which the account stops, above zero, in the base currency.
    pub stop_loss: Option<Decimal>,
}

/// An execution intent whose grammar holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The broker to route to.
    pub broker: BrokerId,
    /// The broker's venue.
    pub venue: VenueId,
    /// What to trade.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// How much.
    pub quantity: Quantity,
    /// Market, or limit with its price.
    pub order_type: OrderType,
    /// The limit price; none for market orders.
    pub price: Option<Price>,
    /// How long it stands.
    pub time_in_force: TimeInForce,
    /// The caller's id.
    pub client_order_id: ClientOrderId,
    /// The account it is for.
    pub account_id: AccountId,
    /// Tags, in the caller's order.
    pub tags: Vec<Tag>,
    /// Refused unless it reduces the position.
    pub reduce_only: bool,
    /// The loss the caller expects of this order, absolute, in the base currency.
    pub estimated_loss: Option<Decimal>,
    /// The mode the caller expects.
    pub mode: Option<Mode>,
    /// Never sent after this.
    pub expires_at: Option<Timestamp>,
    /// The caller's own risk figures.
    pub risk: RiskOverrides,
}

impl Intent {
    /// Returns the hash of the content a repeated id is compared by: everything but the id itself, `expires_at`,
    /// `mode`, `risk` and `estimated_loss`.
    pub fn content_hash(&self) -> ContentHash {
        let mut hasher = Sha256::new();
        let mut field = |text: &str| {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        field(self.broker.as_str());
        field(self.venue.as_str());
        field(self.symbol.as_str());
        field(self.side.as_str());
        field(&self.quantity.to_string());
        field(self.order_type.as_str());
        field(&self.price.map(|price| price.to_string()).unwrap_or_default());
        field(self.time_in_force.as_str());
        field(if self.reduce_only { "reduce_only" } else { "" });
        for tag in &self.tags {
            field(tag.as_str());
        }
        ContentHash::from_digest(&hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_normalised() {
        for text in ["btc/usdt", "BTC-USDT", " b t c usdt", "BTCUSDT"] {
            assert_eq!(Symbol::parse(text).unwrap().as_str(), "BTCUSDT");
        }
        for text in ["", "/- ", "BTC\n", "ÄPFEL", &"x".repeat(33)] {
            assert!(Symbol::parse(text).is_err(), "{text:?}");
        }
    }
}
