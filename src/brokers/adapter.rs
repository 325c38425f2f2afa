//! The calls that every venue supports, and their outcomes.
//!
//! Rejected, not sent and unknown are never merged. The first two release what the order reserves; an unknown outcome keeps
//! it reserved until the venue has reported.

use std::future::Future;

use tokio::time::Instant;

use crate::domain::id::{BrokerId, LeaseToken, OrderIdPrefix, VenueId};
use crate::domain::metadata::Metadata;
use crate::domain::order::{BookingAnomaly, Order};
use crate::domain::order_terms::TimeInForce;
use crate::domain::quantity::{Price, QuantityUnits};
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{OutboxEntry, VenueReport};
use crate::risk::rules::max_daily_loss::DayLoss;
use crate::risk::{Approved, ApprovedUnderCaps};

/// An order to be sent to its venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The claimed order.
    pub order: Order,
    /// The reference price it was valued at.
    pub reference_price: Price,
    /// The quote currency.
    pub quote_currency: String,
    /// The order is never sent after this moment.
    pub deadline: Timestamp,
    /// The lease of the worker's claim.
    pub lease: LeaseToken,
    /// The figures that it was judged by, for the journal.
    pub figures: Metadata,
}

/// The outcome of a placement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each outcome is moved once"
)]
pub enum PlaceOutcome {
    /// The venue has the order.
    Acknowledged(VenueAcknowledgement),
    /// The venue rejected the order and keeps no part of it.
    Rejected(Reason),
    /// Nothing was sent, certainly.
    NotSent(NotSentReason),
    /// The order was or may have been sent; the text says why the outcome is unknown.
    OutcomeUnknown(String),
}

/// A venue's acknowledgement of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each outcome is moved once"
)]
pub enum VenueAcknowledgement {
    /// The venue's book is the store: the effect is settled.
    Booked(BookedEffect),
    /// A live venue's report, to be settled.
    Reported(VenueReport),
}

/// An effect that is settled in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedEffect {
    /// The order after the effect.
    pub order: Order,
    /// The order's events that are not journaled, in order; the last one is this effect's.
    pub pending_events: Vec<OutboxEntry>,
    /// The anomalies to publish as alerts.
    pub notices: Vec<BookingAnomaly>,
    /// The losses that have reached their limits by the effect.
    pub breaches: Vec<DayLoss>,
    /// A moment before it was booked.
    pub prepared_at: Instant,
}

/// Why nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSentReason {
    /// The deadline has passed.
    DeadlinePassed,
    /// Trading was halted in the meantime.
    Halted,
    /// Another worker has the lease, or the claim was released.
    LeaseLost,
    /// The adapter took no order, and nothing of this one is on the journal; the text says why.
    NotAccepted(String),
    /// The venue is unreachable, and the order may be announced on the journal; the text says why.
    Unavailable(String),
    /// Too many calls wait. Only the broker's task returns this: the adapter has not seen the order.
    QueueFull,
}

impl NotSentReason {
    /// Reports whether it is certain that nothing of the order is on the journal.
    pub fn is_before_announcement(&self) -> bool {
        matches!(self, Self::NotAccepted(_) | Self::QueueFull)
    }
}

/// The outcome of a cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The order is cancelled, and the cancel is settled.
    Booked(BookedEffect),
    /// A live venue's report, to be settled.
    Reported(VenueReport),
    /// The order had ended before; its current state.
    AlreadyEnded(Order),
    /// Nothing was sent, certainly.
    NotSent(NotSentReason),
    /// The order may be cancelled; the text says why the outcome is unknown.
    OutcomeUnknown(String),
}

/// The outcome of a step of a replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplaceCallOutcome {
    /// What the venue reported, to be settled one after another.
    Reported(Vec<VenueReport>),
    /// Nothing was sent, certainly.
    NotSent(NotSentReason),
    /// The step was or may have been taken; the text says why the outcome is unknown.
    OutcomeUnknown(String),
}

/// The outcome of a due effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each outcome is moved once"
)]
pub enum DueOutcome {
    /// The effect is settled.
    Booked(BookedEffect),
    /// Nothing is due.
    NothingDue,
    /// Nothing was booked, certainly.
    NotSent(NotSentReason),
    /// The effect may be booked; the text says why the outcome is unknown.
    OutcomeUnknown(String),
}

/// A venue's reply to an inquiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InquiryOutcome {
    /// The venue has the order; its report.
    Reported(VenueReport),
    /// The venue replied that it does not have the order. One such reply is not conclusive: a venue's
    /// query service may lag behind its order service. A connection error is never reported as this.
    NotFound,
    /// The venue did not reply to the inquiry; the text says why.
    Unanswered(String),
}

/// What a broker supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerCapabilities {
    /// The broker.
    pub broker: BrokerId,
    /// The prefix of its order ids.
    pub order_id_prefix: OrderIdPrefix,
    /// Its venues.
    pub venues: Vec<VenueId>,
    /// The supported times in force. An order with another one is rejected, never translated.
    pub times_in_force: Vec<TimeInForce>,
    /// Where the effects of its orders take place.
    pub effects: Effects,
}

/// Where the effects of orders take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// In the store: booking an order is sending it.
    InStore,
    /// At a venue outside the store: a `submitting` event is journaled before the first byte is sent.
    AtVenue,
}

/// The adapter of a venue. Every implementation passes [`crate::brokers::conformance`].
///
/// A call may be dropped at any await point when its time limit ends; its outcome is then unknown.
pub trait BrokerAdapter: Send + Sync + 'static {
    /// Returns what the venue supports.
    fn capabilities(&self) -> &BrokerCapabilities;

    /// Places an order, once.
    ///
    /// An adapter with effects at a venue passes the [`crate::brokers::port::SendGate`] immediately before the first byte, and
    /// sends only if the gate permits it.
    fn place(&self, placement: Approved<Placement>) -> impl Future<Output = PlaceOutcome> + Send;

    /// Returns what placing an order would report now, where its effect takes place in the store: the step that claims the
    /// order books it at once. `position` is what the account holds (1e-8), where an earlier plan of an order that only
    /// reduces would have taken it through zero. `None` for a venue that has to be called.
    ///
    /// # Errors
    /// Why the venue rejects the order.
    fn plan(
        &self,
        placement: &ApprovedUnderCaps<Placement>,
        position: Option<QuantityUnits>,
    ) -> Option<Result<VenueReport, Reason>> {
        let _ = (placement, position);
        None
    }

    /// Cancels the open quantity of an order; `order` may be an older version.
    fn cancel(&self, order: Order) -> impl Future<Output = CancelOutcome> + Send;

    /// Carries out the next step of the order's open replace, which is journaled, by one request. A venue whose effects take
    /// place in the store is never called: its new terms are planned ([`BrokerAdapter::plan`]) and booked in one step.
    fn replace(&self, order: Order) -> impl Future<Output = ReplaceCallOutcome> + Send {
        let reason = format!("the venue of {} is not called for a replace", order.order_id);
        async move { ReplaceCallOutcome::NotSent(NotSentReason::Unavailable(reason)) }
    }

    /// Executes what is due for an order of a paper venue; `order` may be an older version.
    fn execute_due(&self, order: Order) -> impl Future<Output = DueOutcome> + Send;

    /// Asks the venue about an order that may have been sent. Changes nothing there.
    fn inquire(&self, order: Order) -> impl Future<Output = InquiryOutcome> + Send;
}
