//! The typed calls of a [`RouterClient`](crate::RouterClient): orders, control, and streams of events.
//!
//! Every call has a time limit, which is also the deadline that the router keeps: nothing is executed after it. A call that
//! has the same effect however often it arrives is sent again after a retryable fault or a lost reply, as the client's
//! [`RetrySchedule`](crate::RetrySchedule) says; a change that loosens a limit is sent once.

mod calls;
mod control;
pub mod error;
pub mod event_stream;
pub mod journal_event;
pub mod new_terms;
pub mod order_key;
mod orders;
pub mod stored_intent;
pub mod stream_error;
mod stream_reader;
mod streams;
pub mod typed_reply;

#[cfg(test)]
#[path = "client/sendable_tests.rs"]
mod sendable_tests;
