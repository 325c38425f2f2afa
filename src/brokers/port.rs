//! What a paper venue needs from whoever keeps its book.

use std::future::Future;

use super::adapter::{Booked, Placement};
use crate::domain::execution::VenueReport;
use crate::domain::order::Order;

/// The book of a paper venue. For it, booking is sending: there is no effect but in here.
pub trait PaperBook: Send + Sync + 'static {
    /// Books the first effect of an order in one step, fenced by the placement's lease and refused after its deadline
    /// (by the store's clock). An order that has an effect already is [`BookError::Superseded`], whoever asks: told as
    /// a lost lease it would be "not sent".
    ///
    /// # Errors
    /// Says whether nothing was booked, or may have been.
    fn place(
        &self,
        placement: &Placement,
        report: VenueReport,
    ) -> impl Future<Output = Result<Booked, BookError>> + Send;

    /// Books a later effect, if the order is still at the version of `order`.
    ///
    /// # Errors
    /// Says whether nothing was booked, or may have been.
    fn amend(&self, order: &Order, report: VenueReport) -> impl Future<Output = Result<Booked, BookError>> + Send;
}

/// Why an effect was not booked, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The deadline has passed; nothing was booked.
    #[error("the deadline has passed")]
    Expired,
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
    Missing,
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
