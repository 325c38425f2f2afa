//! What a venue says of an order.

use crate::domain::decimal::Decimal;
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;

/// One trade of an order, as the venue told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// The venue's id of the trade; with the order it is what a fill is booked once by.
    pub exec_id: String,
    /// How much.
    pub quantity: Quantity,
    /// At which price.
    pub price: Price,
    /// When, by the venue.
    pub timestamp: Timestamp,
    /// The fee, in `fee_currency`.
    pub fee: Decimal,
    /// The currency of the fee.
    pub fee_currency: String,
}

/// What the venue says has become of the order, its fills aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VenueOrderState {
    /// It stands at the venue (or is filled, when the fills say so).
    Working,
    /// It ended with this much of it unfilled.
    Cancelled(Reason),
    /// Its time ran out.
    Expired(Reason),
    /// The venue refused it.
    Rejected(Reason),
    /// It may stand at the venue or not: no venue's word, but ours that none has been given.
    Unknown(Reason),
}

/// What is still to happen to an order by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTask {
    /// When it is to happen.
    pub at: Timestamp,
    /// What is to happen.
    pub action: DueAction,
}

/// What is done with an order when its moment comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueAction {
    /// Fill the rest.
    FillRemainder,
    /// End it: the trading day is over.
    Expire,
    /// Ask its venue what became of it: it may have been sent, and nobody has been told.
    Inquire,
}

impl DueAction {
    /// Returns the word that stands in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FillRemainder => "fill_rest",
            Self::Expire => "expire",
            Self::Inquire => "inquire",
        }
    }
}

/// One message of a venue about one order: new fills, and the state after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueReport {
    /// The venue's own id of the order, once known.
    pub broker_order_id: Option<String>,
    /// Fills, some of them perhaps told before.
    pub fills: Vec<Fill>,
    /// The state after these fills.
    pub state: VenueOrderState,
    /// What the venue says has been filled in all, where it says so. What it counts and has not told as a fill yet
    /// stays reserved, even after the order's end.
    pub cumulative_quantity: Option<Decimal>,
    /// What is to happen next by itself.
    pub due: Option<DueTask>,
}

/// An event that is settled in the store and not known to be on the journal yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The order's version it tells of.
    pub version: u32,
    /// Its journal document.
    pub body: bytes::Bytes,
}
