//! The worker: takes intents from both doors and makes each of them a report, exactly once.
//!
//! Read [`pipeline`] first: it is the way of one intent, step by step. What happens outside of a call stands in
//! [`events`] (later fills of paper orders), [`recovery`] (what a dead worker left) and [`healing`] (a store that is
//! not the one we know). What will outlive us passes the [`gate`], and [`inquiry`] asks its venue what became of it
//! where nobody knows.

pub mod adjustments;
pub mod background;
pub mod control;
pub mod journaling;
pub mod lifecycle;
pub mod orders;
pub mod rebuild;
pub mod request_handler;
pub mod router;
pub mod stop_point;
pub mod submission;
pub mod trading_day;

pub use crate::worker::lifecycle::{Worker, WorkerError};
pub use crate::worker::router::Router;
