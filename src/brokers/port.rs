//! What adapters need from the worker: the book of a paper venue; for a live one permission to send, a receiver of its
//! reports, and the counts of its request limits that all workers share.

use std::future::Future;
use std::time::Duration;

use crate::brokers::adapter::{BookedEffect, NotSentReason, Placement};
use crate::domain::id::OrderId;
use crate::domain::order::{ApplyReportError, Order};
use crate::domain::order_terms::Side;
use crate::domain::quantity::QuantityUnits;
use crate::domain::request_limit::{LimitCharge, LimitDecision, LimitKind};
use crate::domain::symbol::Symbol;
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
    /// The report cannot be counted with the order: its amounts are not exact, or its fills are too many. Nothing was
    /// booked.
    #[error("the report cannot be booked with its order: {0}")]
    Uncountable(ApplyReportError),
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

/// A report that a live venue sent without a call of the worker's: from its stream of events, or from a reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueNotice {
    /// The client order id at the venue. Orders that the router did not place have ids of other forms.
    pub order_id: OrderId,
    /// The symbol: it is all that is known of an order that the router did not place.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// The report. It may repeat earlier ones, or precede the acknowledgement of the order.
    pub report: VenueReport,
}

/// A complete reading of a symbol's trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TradeReading {
    /// This process has read all that its journal may lack, for the first time.
    Whole,
    /// It began at the end of another one. Where that one is not known any more, its journal may have been put back to an
    /// earlier state, and this reading says nothing.
    Continued,
}

/// Receives the reports of a live venue.
pub trait VenueInbox: Send + Sync + 'static {
    /// Settles a report, and returns once it is journaled. A fill of an order that the router does not know is booked as
    /// an orphan.
    ///
    /// # Errors
    /// When the report is not journaled. The caller keeps it, or reads it from the venue again.
    fn deliver(&self, notice: VenueNotice) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Returns the orders of this venue that are open or unknown: those that a reconciliation asks the venue about where
    /// its lists do not name them.
    ///
    /// # Errors
    /// When the orders cannot be read, or are more than `max`.
    fn open_orders(&self, max: usize) -> impl Future<Output = Result<Vec<Order>, InboxError>> + Send;

    /// Returns up to which moment, by the venue's clock, any worker has settled every trade of a symbol; `None` where that is
    /// not known.
    fn settled_trades(&self, symbol: &Symbol) -> impl Future<Output = Option<Timestamp>> + Send;

    /// Records that every trade of a symbol before a moment, by the venue's clock, is settled. Returns whether Redis has it:
    /// a moment that it does not have costs the next worker a longer reading.
    fn record_settled_trades(
        &self,
        symbol: &Symbol,
        until: Timestamp,
        reading: TradeReading,
    ) -> impl Future<Output = bool> + Send;
}

/// Why a report was not journaled, or open orders were not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// Too many reports wait.
    #[error("too many reports of the venue wait")]
    Full,
    /// Store or journal are away; the text says which.
    #[error("the report of the venue could not be settled: {0}")]
    Unavailable(String),
}

/// Why the counts of a venue's limits are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the counts of the venue's limits are unreachable: {0}")]
pub struct LimitLedgerError(pub String);

/// The counts of a venue's limits, shared by all workers that send from one address and for one account.
pub trait LimitLedger: Send + Sync + 'static {
    /// Counts a request in all its windows, or in none. `at` is the venue's time.
    ///
    /// # Errors
    /// When the counts are unreachable.
    fn charge(
        &self,
        charges: &[LimitCharge],
        at: Timestamp,
    ) -> impl Future<Output = Result<LimitDecision, LimitLedgerError>> + Send;

    /// Raises the count of the window at `at` to what the venue has reported. A lower number changes nothing: replies arrive
    /// in any order.
    fn raise(&self, kind: LimitKind, window: Duration, used: u32, at: Timestamp) -> impl Future<Output = ()> + Send;

    /// Refuses every request of this kind before a moment. An earlier moment than one that is set changes nothing.
    fn close_until(&self, kind: LimitKind, until: Timestamp) -> impl Future<Output = ()> + Send;
}
