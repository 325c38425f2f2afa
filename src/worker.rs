//! The worker: takes intents from both doors and makes each of them a report, exactly once.
//!
//! Read [`pipeline`] first: it is the way of one intent, step by step. What happens outside of a call stands in
//! [`events`] (later fills of paper orders), [`recovery`] (what a dead worker left) and [`healing`] (a store that is
//! not the one we know). What will outlive us passes the [`gate`], and [`inquiry`] asks its venue what became of it
//! where nobody knows.

pub mod adjust;
pub mod admission;
pub mod book;
pub mod breaches;
pub mod brokers;
pub mod claim;
pub mod control;
pub mod day;
pub mod events;
pub mod gate;
pub mod halt;
pub mod handler;
pub mod healing;
pub mod inquiry;
pub mod known;
pub mod limits;
pub mod locks;
pub mod lookup;
mod measure;
pub mod notes;
mod observed;
pub mod orders;
pub mod pipeline;
pub mod prices;
pub mod recording;
pub mod recovery;
mod replaying;
pub mod router;
pub mod run;
pub mod signals;
pub mod state;
pub mod state_journal;
pub mod stop_point;
pub mod submission;

pub use router::Router;
pub use run::{Worker, WorkerError};
