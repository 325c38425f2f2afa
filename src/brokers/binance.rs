//! The live adapter of Binance Spot: its documented REST API and WebSocket API.
//!
//! - [`adapter`]: placing, cancelling, replacing and asking; [`maintenance`] keeps clock, rules and reports up to date beside it.
//! - [`verdicts`]: the one table of what a reply proves. What it does not prove is unknown.
//! - [`transport`]: connections, and the one way in which an order leaves: once.
//! - [`rest_reader`]: reads, which may be repeated.
//! - [`messages`] and [`reports`]: what the venue says, and the reports it becomes.
//! - [`instrument_rules`], [`venue_clock`], [`request_budget`]: what an order must pass before it is announced.
//! - [`user_stream`], [`reconciliation`], [`price_stream`]: what the venue sends by itself, and what it did not;
//!   [`report_continuity`]: whether any of it is missing.
//! - [`asset_roles`], [`transfer_queue`]: which symbols move an asset of the account, and what else the venue reports of it.
//! - [`credentials`], [`signing`], [`parameters`]: the key, which nothing shows, and what it signs.
//!
//! Protocol facts are from the venue's documentation (github.com/binance/binance-spot-api-docs), named by page.

pub mod adapter;
pub mod asset_roles;
mod cancellation;
pub mod credentials;
mod delivery;
mod inquiry;
pub mod instrument_rules;
pub mod maintenance;
pub mod memory_ledger;
pub mod messages;
mod order_lists;
pub mod parameters;
pub mod placement;
pub mod price_stream;
pub mod reconciliation;
mod replacement;
pub mod report_continuity;
pub mod reports;
pub mod request_budget;
pub mod rest_reader;
pub mod retry_delay;
pub mod sent_orders;
pub mod session;
pub mod settings;
pub mod settled_trades;
pub mod signing;
pub mod transfer_queue;
pub mod transport;
pub mod user_stream;
pub mod venue_client;
pub mod venue_clock;
pub mod verdicts;
pub mod websocket;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod scripted_server;
#[cfg(test)]
mod scripted_stream;
#[cfg(test)]
mod test_bench;
#[cfg(test)]
mod test_orders;
