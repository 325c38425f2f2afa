//! A replace of an order: new terms for what is still open of it (`OrderCancelReplaceRequest`, FIX 35=G).
//!
//! The order stays one order with one cumulative quantity. Its terms change when the venue has them, and not before.

use crate::domain::decimal::Decimal;
use crate::domain::id::ReplaceId;
use crate::domain::leg::LegNumber;
use crate::domain::money::Micros;
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::domain::word_enum::word_enum;

word_enum! {
    /// What became of a replace.
    ReplaceState {
        /// Its intention is journaled, and it may have been sent.
        Pending = "pending",
        /// The new terms are in force.
        Done = "done",
        /// The order keeps its earlier terms.
        NotReplaced = "not_replaced",
        /// The earlier terms are cancelled, and the new ones are not in force: the order has ended.
        CancelledNotPlaced = "cancelled_not_placed",
        /// It may have been sent, and its venue has not replied. The venue is asked.
        Unknown = "unknown",
    }
}

impl ReplaceState {
    /// Reports whether the outcome is still open.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Unknown)
    }
}

word_enum! {
    /// How a venue carries out a replace.
    ReplaceMethod {
        /// A smaller quantity at the same price: the order keeps its place in the book.
        Amend = "amend",
        /// The working leg is cancelled and the next one placed in one request. The venue does neither where the working leg
        /// has any fill.
        CancelReplace = "cancel_replace",
        /// The working leg is cancelled; what is left of the new quantity is then placed by a request of its own.
        CancelFirst = "cancel_first",
    }
}

/// What the terms of an order hold of the shared limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermsShare {
    /// The order's notional.
    pub notional: Micros,
    /// The loss that the whole order makes against its mark.
    pub price_loss: Micros,
}

/// The terms that a replace asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplaceTerms {
    /// The caller's id of the replace: the idempotency key, within its order.
    pub replace_id: ReplaceId,
    /// The limit price.
    pub price: Price,
    /// The quantity of the whole order, what is filled included.
    pub quantity: Quantity,
    /// How the venue carries it out.
    pub method: ReplaceMethod,
    /// The mark of the symbol; `None` keeps the order's.
    pub mark: Option<Price>,
    /// The timestamp of the request to the venue.
    pub requested_at: Timestamp,
}

/// A replace of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderReplace {
    /// The caller's id of the replace.
    pub replace_id: ReplaceId,
    /// What became of it.
    pub state: ReplaceState,
    /// The leg that has the new terms.
    pub leg: LegNumber,
    /// How the venue carries it out.
    pub method: ReplaceMethod,
    /// The new limit price.
    pub price: Price,
    /// The new quantity of the whole order.
    pub quantity: Quantity,
    /// Why it was not done, or why its outcome is unknown.
    pub reason: Option<Reason>,
    /// The timestamp of the latest request to the venue.
    pub requested_at: Timestamp,
    /// What earlier legs have filled when the new leg begins: its own quantity is the rest.
    pub filled_before: Decimal,
    /// What the leg before has filled, once that leg is known to have ended while the outcome is open.
    pub ended_leg: Option<Decimal>,
    /// Whether the request that places the new leg by itself is announced.
    pub is_placing: bool,
    /// What the earlier terms hold.
    pub earlier_share: TermsShare,
    /// What the new terms hold.
    pub new_share: TermsShare,
}

impl OrderReplace {
    /// Returns the quantity of the new leg at its venue; `None` where nothing is left for it.
    pub fn leg_quantity(&self) -> Option<Quantity> {
        let rest = self.quantity.decimal().checked_sub(self.filled_before)?;
        Quantity::new(rest).ok()
    }

    /// Reports whether a request of this id asks for the same; a term that it leaves out agrees with any.
    pub fn asks_for(&self, price: Option<Price>, quantity: Option<Quantity>) -> bool {
        price.is_none_or(|price| price == self.price) && quantity.is_none_or(|quantity| quantity == self.quantity)
    }
}

/// The legs of an order that has been replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLegs {
    /// The leg that works at the venue.
    pub working: LegNumber,
    /// What the legs before it have filled, by the venue's count.
    pub filled_before: Decimal,
    /// The replaces, the oldest first; the one at place n makes leg n + 2.
    pub replaces: Vec<OrderReplace>,
}

/// The venue's word about a replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplaceOutcome {
    /// The new terms are in force.
    Done,
    /// The earlier terms are in force.
    NotReplaced(Reason),
    /// The earlier terms are cancelled, and the new ones are not in force.
    CancelledNotPlaced(Reason),
    /// It may have been sent; the venue has not replied.
    Unknown(Reason),
    /// The earlier leg has ended, and the request that places the new one is announced: its timestamp.
    Placing(Timestamp),
}

/// What a venue's report says of an order's legs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LegWord {
    /// The leg that the report is about; the working one where it names none.
    pub leg: Option<LegNumber>,
    /// What it says of the replace that made this leg; it changes no other replace.
    pub replace: Option<Box<(LegNumber, ReplaceOutcome)>>,
}

impl LegWord {
    /// Returns the word of a report about one leg.
    pub fn about(leg: LegNumber) -> Self {
        Self {
            leg: Some(leg),
            replace: None,
        }
    }

    /// Returns the word of a report about the replace that made this leg.
    pub fn of_replace(leg: LegNumber, outcome: ReplaceOutcome) -> Self {
        Self {
            leg: None,
            replace: Some(Box::new((leg, outcome))),
        }
    }
}

/// Where a leg is among the legs of its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegPlace {
    /// Before the working leg, or unknown: only its fills count.
    Earlier,
    /// The working leg.
    Working,
    /// The leg of a replace whose terms are not in force.
    Next(LegNumber),
}
