//! The pure core: orders, exact numbers and the shared sums, without I/O and without a wire format.
//!
//! The values of the contract are those of the client ([`order_router_client::domain`]); what only the router computes is
//! here.
//!
//! Values are parsed once, at the edge; behind it there are no raw strings, no floats, and no options that are never
//! `None`. This room imports nothing of the crate. Start with [`order`], [`status_transition`] and [`booking`].

pub mod adjustment_deltas;
pub mod booking;
pub mod calendar;
pub mod claim_state;
pub mod currency_rates;
pub mod daily_pnl;
pub mod day_profit;
pub mod instrument;
pub mod intent_lifetime;
pub mod order;
pub mod order_key;
pub mod position_book;
mod replacing;
pub mod request_limit;
pub mod reservation;
pub mod settlement_end;
pub mod status_transition;
pub mod sum_ledger;
pub mod trace_context;
pub mod venue_report;

pub use order_router_client::domain::*;
