//! `order-router`: turns intents on a bus into orders at brokers, each at most once, under limits that all machines share.
//!
//! Read [`worker::submission::pipeline`] first: the submission pipeline, step by step. `docs/architecture.md` has the
//! picture, the laws and the rooms. The rooms, from the pure core outwards:
//!
//! | room | holds |
//! |---|---|
//! | [`domain`] | what an order is: exact numbers, ids, terms, the table of its states. Pure |
//! | [`risk`] | the rules, and the approval only they can give. Pure |
//! | [`fault`] | the one table of errors: code, HTTP status, delivery, retry. Pure |
//! | [`wire`] | the JSON of the contract. Pure |
//! | [`config`] | settings, one file per area |
//! | [`telemetry`] | the table of metrics, and the worker's port for them |
//! | [`http`] | HTTP servers below the router: bounded connections, timeouts, graceful stop |
//! | [`store`] | Redis: the live state all workers share, one script per change |
//! | [`bus`] | NATS: subjects, streams, the two doors, the journal |
//! | [`brokers`] | the adapter trait, the task in front of each broker, the paper venues |
//! | [`worker`] | the submission pipeline, and the tasks beside it |
//! | [`order_log`] | the journal projected into SQLite, for lists with exact totals |
//! | [`sidecar`] | REST: the same requests over HTTP, bridged to the bus |
//! | [`bench`] | load and latency |
//! | [`cli`] | the command line, one file per command |
//!
//! `bus`, `store` and `brokers` never import each other; the worker joins them. A test reads the imports.

pub mod bench;
pub mod brokers;
pub mod bus;
pub mod cli;
pub mod config;
pub mod domain;
pub mod fault;
pub mod http;
pub mod order_log;
pub mod risk;
pub mod sidecar;
pub mod store;
pub mod telemetry;
pub mod wire;
pub mod worker;
