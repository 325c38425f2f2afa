//! The worker: turns every intent, from either door, into exactly one order and its journaled reports.
//!
//! Read [`submission::pipeline`] first. The modules, in the order of an order's life:
//! - [`submission`]: from the bytes of an intent to its reply.
//! - [`journaling`]: settles venue reports, and appends reports to the journal before any reply carries them.
//! - [`orders`]: requests about existing orders; [`adjustments`]: corrections of positions and cash.
//! - [`control`]: trading state, locks, signals, the kill switch.
//! - `venue`: live venues: their sessions, what they report by themselves, their prices.
//! - [`trading_day`]: the day roll, profit and loss, reference prices.
//! - [`rebuild`]: rebuilds a lost or outdated store from the journal.
//! - [`background`]: recovery, inquiries, due paper orders, gauges, the checks of the servers.
//! - [`readiness`]: whether an order would be taken now.
//! - [`venue`]: what the adapter of a live venue needs of the store.
//! - [`lifecycle`]: start and drain.

pub mod adjustments;
pub mod background;
pub(in crate::worker) mod broker_list;
pub mod broker_table;
pub mod control;
pub mod faults;
pub mod instruments;
pub mod journal_capacity;
pub mod journaling;
pub mod lifecycle;
pub mod orders;
pub(in crate::worker) mod periodic;
pub(in crate::worker) mod queue_cursor;
pub mod readiness;
pub mod rebuild;
pub(in crate::worker) mod reply;
pub mod request_handler;
pub mod router;
pub mod snapshots;
pub mod stop_point;
pub mod submission;
pub(in crate::worker) mod trace;
pub mod trading_day;
pub mod venue;

pub use crate::worker::control::limits_change::OwnLimits;
pub use crate::worker::lifecycle::{OtherLimitsError, Worker, WorkerError};
pub use crate::worker::router::Router;
