//! Venue reports: what a venue sends about an order.

use crate::domain::decimal::Decimal;
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reason::Reason;
use crate::domain::replace::LegWord;
use crate::domain::time::Timestamp;

/// One trade of an order, as the venue reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// The venue's id of the trade (`ExecID`, FIX tag 17). A fill is booked once per order and trade id.
    pub exec_id: String,
    /// The filled quantity.
    pub quantity: Quantity,
    /// The fill price.
    pub price: Price,
    /// The time of the trade, by the venue's clock.
    pub timestamp: Timestamp,
    /// The fee, in `fee_currency`.
    pub fee: Decimal,
    /// The currency of the fee.
    pub fee_currency: String,
}

/// The state of an order at its venue, apart from its fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VenueOrderState {
    /// The venue has acknowledged the order. It is open, unless its fills complete it.
    Working,
    /// The order was cancelled; its open quantity is gone.
    Cancelled(Reason),
    /// The order expired.
    Expired(Reason),
    /// The venue rejected the order.
    Rejected(Reason),
    /// The order may or may not be open at the venue. The router sets this state when it has no report of the venue.
    Unknown(Reason),
}

/// A task that the worker runs on an order at a given time, without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTask {
    /// When the task is due.
    pub at: Timestamp,
    /// The action of the task.
    pub action: DueAction,
}

/// The action of a due task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueAction {
    /// Fill the open quantity.
    FillRemainder,
    /// Expire the order: the trading day is over.
    Expire,
    /// Ask the venue about the order: it may have been sent, and its outcome is unknown.
    Inquire,
}

impl DueAction {
    /// Returns the action's word on the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FillRemainder => "fill_rest",
            Self::Expire => "expire",
            Self::Inquire => "inquire",
        }
    }
}

/// One message of a venue about one order: fills, and the state after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueReport {
    /// The venue's own id of the order, once known.
    pub broker_order_id: Option<String>,
    /// The fills. Some may have been reported before.
    pub fills: Vec<Fill>,
    /// The state after these fills.
    pub state: VenueOrderState,
    /// The venue's cumulative quantity (`CumQty`, FIX tag 14) of the leg, where it sends one. A quantity that it counts and has not
    /// reported as a fill yet stays reserved, even after the order's end.
    pub cumulative_quantity: Option<Decimal>,
    /// What the report says of the order's legs.
    pub legs: LegWord,
    /// The next due task.
    pub due: Option<DueTask>,
}

/// An event that is settled in the store and not yet confirmed on the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The order's version in the event.
    pub version: u32,
    /// The event's journal document.
    pub body: bytes::Bytes,
    /// The id of the effect that was settled, where the document was made by this process; it is in the document, too.
    pub settlement_id: Option<uuid::Uuid>,
}
