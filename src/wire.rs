//! The JSON documents of the contract, and their conversion to and from domain types. Pure.
//!
//! The documents are those of the client ([`order_router_client::wire`]). This room adds the conversion of an order, which
//! a client does not need: to its report ([`order_report`]), and to and from the journal ([`journal_report`],
//! [`journaled_submission`]).

pub mod journal_report;
pub mod journaled_submission;
pub mod order_report;

pub use order_router_client::wire::*;
