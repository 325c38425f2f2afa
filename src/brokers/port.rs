//! What adapters need from the worker: the book of a paper venue, and permission to send to a live one.

use std::future::Future;

use crate::brokers::adapter::{BookedEffect, NotSentReason, Placement};
use crate::domain::order::Order;
use crate::domain::quantity::QuantityUnits;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;

/// The book of a paper venue, for which booking an order is sending it: no effect exists outside of the book.
pub trait PaperBook: Send + Sync + 'static {
    /// Books the first effect of an order in one step, under the placement's lease and before its deadline (by the store's
    /// clock). For an order that has an effect it returns [`BookError::Superseded`], also under a lost lease: a lost lease
    /// would be reported as "not sent".
    ///
    /// # Errors
    /// The error says whether nothing was booked, or may have been.
    fn book_placement(
        &self,
        placement: &Placement,
        report: VenueReport,
    ) -> impl Future<Output = Result<BookedEffect, BookError>> + Send;

    /// Books a later effect if the order is still at the version of `order`.
    ///
    /// # Errors
    /// The error says whether nothing was booked, or may have been.
    fn book_effect(
        &self,
        order: &Order,
        report: VenueReport,
    ) -> impl Future<Output = Result<BookedEffect, BookError>> + Send;
}

/// Why an effect was not booked, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The deadline has passed; nothing was booked.
    #[error("the deadline has passed")]
    DeadlinePassed,
    /// Trading is halted; nothing was booked.
    #[error("trading is halted")]
    Halted,
    /// The lease is lost; nothing was booked.
    #[error("the lease on the order is lost")]
    LeaseLost,
    /// Another effect came first; the current order. This call booked nothing.
    #[error("another effect came first")]
    Superseded(Box<Order>),
    /// Another effect came first and ended the order. This call booked nothing.
    #[error("the order has ended")]
    Ended,
    /// A fill of an order that only reduces a position would take it through zero; holds the position, in units of 1e-8.
    /// Nothing was booked.
    #[error("the fill would take the position through zero")]
    CrossesZero(QuantityUnits),
    /// The order does not exist; nothing was booked.
    #[error("the order is not in the book")]
    OrderNotFound,
    /// The report has nothing that is not booked already.
    #[error("the report has nothing new about the order")]
    NothingNew,
    /// The book is unreachable; nothing was booked.
    #[error("the book is unreachable: {0}")]
    Unavailable(String),
    /// The effect may be booked.
    #[error("the effect may be booked: {0}")]
    Unknown(String),
}

/// What an adapter does before the first byte of an order to a venue: both steps, in this order, immediately before it.
/// An adapter that either step refuses sends nothing and returns the refusal.
pub trait SendGate: Send + Sync + 'static {
    /// Journals that the order is being submitted, and waits for the acknowledgement: a worker that finds the order later
    /// asks the venue.
    ///
    /// # Errors
    /// Why nothing may be sent.
    fn journal_submission(
        &self,
        placement: &Placement,
    ) -> impl Future<Output = Result<SubmissionReceipt, NotSentReason>> + Send;

    /// Moves the order from claimed to sending, in one step for all workers: only under its lease, and before its deadline
    /// (by the store's clock). `requested_at` is the timestamp of the request, read before this call: a worker that is delayed
    /// between this step and the first byte sends a request that is too old for the venue.
    ///
    /// # Errors
    /// Why nothing may be sent.
    fn start_sending(
        &self,
        placement: &Placement,
        receipt: SubmissionReceipt,
        requested_at: Timestamp,
    ) -> impl Future<Output = Result<(), NotSentReason>> + Send;
}

/// Evidence that the order's submission is journaled; without it nothing can be sent.
#[derive(Debug)]
pub struct SubmissionReceipt {
    /// The journal sequence of the event.
    pub sequence: u64,
}
