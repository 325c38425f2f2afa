//! The brokers: one trait for every venue, one task per broker, and the paper venues.
//!
//! - [`adapter`]: the calls that every venue supports, and outcomes that are never merged.
//! - [`task`] and [`handle`]: one task per broker behind bounded queues; callers hold a [`BrokerHandle`].
//! - [`port`]: what adapters need from the worker: the book of a paper venue, and permission to send to a live one. The
//!   room itself imports neither store nor journal.
//! - [`binance`]: the live adapter of Binance Spot.
//! - [`paper`]: the paper venues of `binance` and `ibkr`. Fills are computed apart from their booking.
//! - [`conformance`]: the suite that every adapter passes.

pub mod adapter;
pub mod binance;
pub mod conformance;
pub mod handle;
#[cfg(test)]
mod memory_book;
pub mod paper;
pub mod port;
pub mod task;

pub use crate::brokers::adapter::{
    BookedEffect, BrokerAdapter, BrokerCapabilities, CancelOutcome, DueOutcome, Effects, InquiryOutcome, NotSentReason,
    PlaceOutcome, Placement, VenueAcknowledgement,
};
pub use crate::brokers::handle::BrokerHandle;
pub use crate::brokers::port::{
    BookError, InboxError, LimitLedger, LimitLedgerError, PaperBook, SendGate, SubmissionReceipt, VenueInbox,
    VenueNotice,
};
pub use crate::brokers::task::BrokerTask;
