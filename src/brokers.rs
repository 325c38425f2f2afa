//! The brokers: one trait for what can be asked of a venue, one task per broker, and the paper venues.
//!
//! - [`adapter`]: what every venue can be asked, and the answers that are never merged.
//! - [`task`] and [`handle`]: one task per broker behind bounded queues; callers hold a [`BrokerHandle`].
//! - [`port`]: what adapters need from the worker: whoever keeps a paper venue's book, and the leave to send to a real
//!   one. The room itself knows neither store nor journal.
//! - [`paper`]: the paper venues of `binance` and `ibkr`. What fills is computed apart from the booking of it.
//! - [`conformance`]: the one suite every adapter has to pass.

pub mod adapter;
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
pub use crate::brokers::port::{BookError, PaperBook, SendGate, SubmissionReceipt};
pub use crate::brokers::task::BrokerTask;
