//! What adapters need from the worker: a paper venue somebody who keeps its book, a real one the leave to send.

use std::future::Future;

use crate::brokers::adapter::{BookedEffect, NotSentReason, Placement};
use crate::domain::order::Order;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;

/// The book of a paper venue. For it, booking is sending: there is no effect but in here.
pub trait PaperBook: Send + Sync + 'static {
    /// Books the first effect of an order in one step, fenced by the placement's lease and refused after its deadline
    /// (by the store's clock). An order that has an effect already is [`BookError::Superseded`], whoever asks: told as
    /// a lost lease it would be "not sent".
    ///
    /// # Errors
    /// Says whether nothing was booked, or may have been.
    fn book_placement(
        &self,
        placement: &Placement,
        report: VenueReport,
    ) -> impl Future<Output = Result<BookedEffect, BookError>> + Send;

    /// Books a later effect, if the order is still at the version of `order`.
    ///
    /// # Errors
    /// Says whether nothing was booked, or may have been.
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
    /// The lease is not the order's any more; nothing was booked.
    #[error("the lease on the order is lost")]
    LeaseLost,
    /// Another effect came first: the order as it is now. Nothing was booked by this call.
    #[error("another effect came first")]
    Superseded(Box<Order>),
    /// Another effect came first and ended the order. Nothing was booked by this call.
    #[error("the order has ended")]
    Ended,
    /// There is no such order; nothing was booked.
    #[error("the order is not in the book")]
    OrderNotFound,
    /// The report tells nothing that is not booked already.
    #[error("the report tells nothing new of the order")]
    NothingNew,
    /// The book is out of reach; nothing was booked.
    #[error("the book is out of reach: {0}")]
    Unavailable(String),
    /// It may have been booked.
    #[error("it may have been booked: {0}")]
    Unknown(String),
}

/// What stands before the first byte to a venue whose effects outlive us. Both steps are taken, in this order,
/// immediately before it; an adapter that is refused by either sends nothing and answers with the refusal.
pub trait SendGate: Send + Sync + 'static {
    /// Puts the order on the journal as being submitted, acknowledged: whoever finds it later asks the venue.
    ///
    /// # Errors
    /// Why nothing may be sent.
    fn journal_submission(
        &self,
        placement: &Placement,
    ) -> impl Future<Output = Result<SubmissionReceipt, NotSentReason>> + Send;

    /// Turns the order from claimed to being sent, in one step for all workers: only under its lease, and not after its
    /// deadline (by the store's clock). `requested_at` is the timestamp the request carries, read before this call, so
    /// that whoever is held up between this step and the first byte sends what its venue finds too old.
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

/// That an order is on the journal as being submitted: without it nothing can be sent.
#[derive(Debug)]
pub struct SubmissionReceipt {
    /// The journal's sequence of it.
    pub sequence: u64,
}
