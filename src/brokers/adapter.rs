//! What every venue can be asked, and how it answers.
//!
//! The answers keep apart what must never be merged: the venue refused it, it was not sent, and nobody knows. Only the
//! first two free what the order holds; the last keeps it reserved until the venue has spoken.

use std::future::Future;

use crate::domain::id::{BrokerId, LeaseToken, OrderIdPrefix, VenueId};
use crate::domain::metadata::Metadata;
use crate::domain::order::{BookingAnomaly, Order};
use crate::domain::order_terms::TimeInForce;
use crate::domain::quantity::Price;
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{OutboxEntry, VenueReport};
use crate::risk::Approved;

/// An order on its way to its venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The claimed order.
    pub order: Order,
    /// The reference price it was valued at.
    pub reference_price: Price,
    /// The currency of its prices.
    pub quote_currency: String,
    /// It is never sent after this moment.
    pub deadline: Timestamp,
    /// The worker's claim to the order.
    pub lease: LeaseToken,
    /// The figures of every limit it was held against, for the journal.
    pub readings: Metadata,
}

/// What became of a placement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each answer is moved once"
)]
pub enum PlaceOutcome {
    /// The venue has it.
    Acknowledged(VenueAcknowledgement),
    /// The venue refused it: nothing of it stands there.
    Rejected(Reason),
    /// Nothing was sent, for certain.
    NotSent(NotSentReason),
    /// It was sent, or may have been; why nobody knows.
    OutcomeUnknown(String),
}

/// A venue's word that it has the order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each answer is moved once"
)]
pub enum VenueAcknowledgement {
    /// The venue's book is the store: the effect is settled already.
    Booked(BookedEffect),
    /// A real venue's word, still to be settled.
    Reported(VenueReport),
}

/// An effect that is settled in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedEffect {
    /// The order after it.
    pub order: Order,
    /// The order's events that are not on the journal yet, in order; the last one is this effect's.
    pub pending_events: Vec<OutboxEntry>,
    /// What a risk monitor should hear of.
    pub notices: Vec<BookingAnomaly>,
}

/// Why nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSentReason {
    /// Its deadline passed.
    DeadlinePassed,
    /// Trading was halted meanwhile.
    Halted,
    /// The order is another worker's by now, or nobody's.
    LeaseLost,
    /// The venue is out of reach, and why.
    Unavailable(String),
    /// Too many calls wait already. Only the broker's task says so, of what its adapter never saw.
    QueueFull,
}

/// What became of a cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It is cancelled, and that is settled.
    Booked(BookedEffect),
    /// A real venue's word, still to be settled.
    Reported(VenueReport),
    /// It had ended before: the order as it is.
    AlreadyEnded(Order),
    /// Nothing was sent, for certain.
    NotSent(NotSentReason),
    /// It may be cancelled; why nobody knows.
    OutcomeUnknown(String),
}

/// What became of an effect that was due.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each answer is moved once"
)]
pub enum DueOutcome {
    /// It happened, and that is settled.
    Booked(BookedEffect),
    /// Nothing is due: not yet, not any more, or never.
    NothingDue,
    /// Nothing was booked, for certain.
    NotSent(NotSentReason),
    /// It may be booked; why nobody knows.
    OutcomeUnknown(String),
}

/// A venue's answer to the question what became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InquiryOutcome {
    /// It has the order: this is its word.
    Reported(VenueReport),
    /// The venue itself says that it does not have the order. Once is not its word: what it is asked may lag behind what
    /// it has taken. No fault of the connection is ever told as this.
    NotFound,
    /// It has not answered, or not to this question; why.
    Unanswered(String),
}

/// What a broker can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerCapabilities {
    /// The broker.
    pub broker: BrokerId,
    /// What opens its order ids.
    pub order_id_prefix: OrderIdPrefix,
    /// Its venues.
    pub venues: Vec<VenueId>,
    /// The times in force it takes; an order with another one is refused, never translated.
    pub times_in_force: Vec<TimeInForce>,
    /// Where its effects land.
    pub effects: Effects,
}

/// Where a venue's effects land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// In our store: booking is sending.
    InStore,
    /// At a venue that outlives us: a submitting event must stand on the journal before the first byte.
    AtVenue,
}

/// A venue as the router speaks to it. Every implementation passes [`crate::brokers::conformance`].
///
/// A call may be dropped at any await point when its time is over; what it had begun then counts as unknown.
pub trait BrokerAdapter: Send + Sync + 'static {
    /// Returns what the venue can do.
    fn capabilities(&self) -> &BrokerCapabilities;

    /// Places an order, once.
    ///
    /// An adapter whose effects outlive us passes the [`crate::brokers::port::SendGate`] immediately before the first byte, and
    /// never sends without its leave.
    fn place(&self, placement: Approved<Placement>) -> impl Future<Output = PlaceOutcome> + Send;

    /// Cancels what is left of an order; `order` may be an older copy of it.
    fn cancel(&self, order: Order) -> impl Future<Output = CancelOutcome> + Send;

    /// Does what is due for an order whose book we keep; `order` may be an older copy of it.
    fn execute_due(&self, order: Order) -> impl Future<Output = DueOutcome> + Send;

    /// Asks the venue what became of an order that may have been sent. It changes nothing there.
    fn inquire(&self, order: Order) -> impl Future<Output = InquiryOutcome> + Send;
}
