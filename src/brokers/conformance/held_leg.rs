//! What a venue outside the store holds of an order, whatever an adapter reports.

use crate::domain::leg::LegNumber;
use crate::domain::order_terms::{OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};

/// A leg that a venue has, or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLeg {
    /// The leg.
    pub leg: LegNumber,
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// The time in force; of a market order, whatever the venue lists.
    pub time_in_force: TimeInForce,
    /// The limit price.
    pub price: Option<Price>,
    /// Its own quantity.
    pub quantity: Quantity,
    /// Whether it is open.
    pub state: HeldState,
    /// What the venue has executed of it.
    pub executions: Vec<HeldExecution>,
}

/// Whether a leg is open at its venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldState {
    /// It is open.
    Open,
    /// It is filled in full.
    Filled,
    /// It ended before: cancelled, expired or rejected.
    Ended,
}

/// An execution at a venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldExecution {
    /// The venue's id of the trade.
    pub exec_id: String,
    /// Its quantity.
    pub quantity: Quantity,
    /// Its price.
    pub price: Price,
}
