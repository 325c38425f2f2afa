//! A client of order-router on NATS, and the documents of its contract.
//!
//! [`RouterClient`] submits orders, reads and cancels them, halts trading, and follows what happens. Each order is sent to a
//! broker at most once, however often its intent is submitted; an unknown outcome is an error of its own
//! ([`CallError::OutcomeUnknown`]), never a refusal.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use order_router_client::domain::order_terms::Side;
//! use order_router_client::{ConnectionSettings, ExecutionIntent, RouterClient};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = RouterClient::connect(ConnectionSettings::new("nats://127.0.0.1:4222")).await?;
//!     let intent = ExecutionIntent::market("binance", "binance.spot", "BTCUSDT", Side::Buy, "0.001".parse()?);
//!     let report = client.submit(&intent, Duration::from_secs(5)).await?;
//!     println!("{} {} at {:?}", report.status, report.filled_quantity, report.avg_price);
//!     Ok(())
//! }
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`client`] | the typed calls, their replies and errors, streams of events |
//! | [`wire`] | the JSON documents of the contract |
//! | [`domain`] | the values in them: exact decimals, ids, terms |
//! | [`fault`] | the table of error codes: HTTP status, acknowledgement, retry |
//! | [`bus`] | NATS: connection, subjects, requests and followers that take and return bytes |
//! | [`config`] | the settings of a connection |

/// The examples of README.md are compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

pub mod bus;
pub mod client;
pub mod config;
pub mod domain;
pub mod fault;
#[doc(hidden)]
pub mod repeated_log;
pub mod wire;

pub use crate::bus::router_client::RouterClient;
pub use crate::client::error::CallError;
pub use crate::client::event_stream::EventStream;
pub use crate::client::journal_event::{JournalEntry, JournalEvent};
pub use crate::client::new_terms::NewTerms;
pub use crate::client::order_key::OrderKey;
pub use crate::client::stored_intent::StoredIntent;
pub use crate::client::stream_error::StreamError;
pub use crate::client::typed_reply::TypedReply;
pub use crate::config::connection::ConnectionSettings;
pub use crate::config::retry::RetrySchedule;
pub use crate::config::secret::Secret;
pub use crate::config::tls::TlsSettings;
pub use crate::domain::decimal::Decimal;
pub use crate::wire::intent::ExecutionIntent;
