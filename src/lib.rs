//! `order-router` turns intents on a bus into orders at brokers: each at most once, under limits that all workers share.
//!
//! Read [`worker::submission::pipeline`] first: the submission pipeline, step by step. docs/architecture.md describes the
//! design and its laws. The rooms, from the pure core outwards:
//!
//! | room | contents |
//! |---|---|
//! | [`domain`] | orders: exact numbers, ids, terms, status transitions, booking. Pure |
//! | [`risk`] | the risk rules, and the approval that only they create. Pure |
//! | [`fault`] | the table of error codes: HTTP status, acknowledgement, retry. Pure |
//! | [`wire`] | the JSON documents of the contract. Pure |
//! | [`config`] | the settings, one file per area |
//! | [`telemetry`] | the table of metrics, and the worker's metrics port |
//! | `repeated_log` | log lines that repeat are counted and logged at intervals |
//! | [`http`] | the HTTP server below a router: bounded connections, timeouts, graceful shutdown |
//! | [`store`] | Redis: the live state that all workers share, one script per change |
//! | [`bus`] | NATS: subjects, streams, the request door, the durable door, the journal |
//! | [`client`] | the typed calls of the client, which the command line sends |
//! | [`brokers`] | the adapter trait, the task of each broker, the paper venues |
//! | [`worker`] | the submission pipeline, and the background tasks |
//! | [`order_log`] | the projection of the journal into SQLite, for lists with exact totals |
//! | [`sidecar`] | the REST API: the same requests over HTTP, bridged to the bus |
//! | [`venue`] | a local exchange that speaks the Binance Spot protocol, for rehearsals and tests |
//! | [`audit`](mod@audit) | the journal against its rules, and Redis and the order log against the journal |
//! | [`bench`](mod@bench) | load generation and latency measurement |
//! | [`chaos`](mod@chaos) | faults under load, and the checker of what they leave behind |
//! | [`cli`] | the command line, one file per command |
//!
//! `bus`, `store` and `brokers` never import each other; the worker connects them. tests/house_rules checks the imports.

pub mod audit;
pub mod bench;
pub mod brokers;
pub mod bus;
pub mod chaos;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod order_log;
pub mod risk;
pub mod sidecar;
pub mod store;
pub mod telemetry;
pub mod venue;
pub mod wire;
pub mod worker;

pub(crate) use order_router_client::repeated_log;
pub use order_router_client::{client, fault};

/// The hot path makes many small allocations on several threads, which this allocator serves without shared locks
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
