//! The normalised execution intent: a caller's request to submit one order.

use std::collections::BTreeSet;

use crate::domain::content_hash::{ContentHash, ContentHasher};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag, VenueId};
use crate::domain::order_terms::{Mode, OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;

/// The most tags of an intent.
pub const MAX_TAGS: usize = 32;

/// The caller's own values for its account's risk. They can tighten a limit, never loosen one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RiskOverrides {
    /// The profit realised today, in the base currency.
    pub realized_pnl: Option<Decimal>,
    /// The unrealised profit, in the base currency.
    pub unrealized_pnl: Option<Decimal>,
    /// The loss of the day at which the account stops opening positions: above zero, in the base currency.
    pub stop_loss: Option<Decimal>,
}

/// An execution intent that has passed the checks of its grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The broker to route to.
    pub broker: BrokerId,
    /// The broker's venue.
    pub venue: VenueId,
    /// The symbol to trade.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// The quantity to trade.
    pub quantity: Quantity,
    /// Market or limit.
    pub order_type: OrderType,
    /// The limit price; `None` for market orders.
    pub price: Option<Price>,
    /// How long the order stays open.
    pub time_in_force: TimeInForce,
    /// The caller's id of the order.
    pub client_order_id: ClientOrderId,
    /// The account to trade for.
    pub account_id: AccountId,
    /// The tags, in the caller's order.
    pub tags: Vec<Tag>,
    /// Whether the order is denied unless it only reduces the position.
    pub reduce_only: bool,
    /// The loss the caller expects of this order, absolute, in the base currency.
    pub estimated_loss: Option<Decimal>,
    /// The mode that the caller expects to be in force.
    pub mode: Option<Mode>,
    /// The order is never sent at or after this moment.
    pub expires_at: Option<Timestamp>,
    /// The caller's own risk values.
    pub risk: RiskOverrides,
}

impl Intent {
    /// Returns the hash that identifies a repetition under the same id. It covers every field except the id itself,
    /// `expires_at`, `mode`, `risk` and `estimated_loss`; the tags count as a set.
    pub fn content_hash(&self) -> ContentHash {
        let mut hasher = ContentHasher::default();
        hasher.add(self.broker.as_str());
        hasher.add(self.venue.as_str());
        hasher.add(self.symbol.as_str());
        hasher.add(self.side.as_str());
        hasher.add(&self.quantity.to_string());
        hasher.add(self.order_type.as_str());
        hasher.add(&self.price.map(|price| price.to_string()).unwrap_or_default());
        hasher.add(self.time_in_force.as_str());
        hasher.add(if self.reduce_only { "reduce_only" } else { "" });
        let tags: BTreeSet<&str> = self.tags.iter().map(Tag::as_str).collect();
        for tag in tags {
            hasher.add(tag);
        }
        hasher.finish()
    }
}
