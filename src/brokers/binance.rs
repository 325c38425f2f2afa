//! The live adapter of Binance Spot: its documented REST API and WebSocket API.
//!
//! - [`verdicts`]: the one table of what a reply proves. What it does not prove is unknown.
//! - [`transport`]: connections, and the one way in which an order leaves: once.
//! - [`rest_reader`]: reads, which may be repeated.
//! - [`messages`] and [`reports`]: what the venue says, and the reports it becomes.
//! - [`instrument_rules`], [`venue_clock`], [`request_budget`]: what an order must pass before it is announced.
//! - [`credentials`], [`signing`], [`parameters`]: the key, which nothing shows, and what it signs.
//!
//! Protocol facts are from the venue's documentation (github.com/binance/binance-spot-api-docs), named by page.

pub mod credentials;
pub mod instrument_rules;
pub mod memory_ledger;
pub mod messages;
pub mod parameters;
pub mod reports;
pub mod request_budget;
pub mod rest_reader;
pub mod retry_delay;
pub mod settings;
pub mod signing;
pub mod transport;
pub mod venue_client;
pub mod venue_clock;
pub mod verdicts;

#[cfg(test)]
mod test_orders;
