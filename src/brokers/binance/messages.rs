//! The venue's messages: what this adapter reads of them, strictly, and nothing else.
//!
//! A field that no type names is ignored: the venue adds fields without notice. A field that decides about money or
//! about an order's end is required, exact, and of a known value: anything else is an error, never a guess.

pub mod account;
pub mod book_ticker;
pub mod error_body;
pub mod exchange_info;
pub mod execution_report;
pub mod order_state;
pub mod replacement;
pub mod server_time;
pub mod stream_message;
pub mod trade;

#[cfg(test)]
mod examples_tests;
