//! `order-router`: intents on a bus become orders at brokers, exactly once, under limits that all machines share.
//!
//! The way of one intent stands in [`worker::pipeline`]; read that first. The rooms, from the pure core outwards:
//!
//! | room | holds |
//! |---|---|
//! | [`domain`] | what an order is: exact numbers, ids, terms, the table of its states. Pure |
//! | [`risk`] | the rules, and the approval only they can give. Pure |
//! | [`fault`] | the one table of errors: code, HTTP status, delivery, retry. Pure |
//! | [`wire`] | the JSON of the contract. Pure |
//! | [`config`] | settings, one file per area |
//! | [`telemetry`] | what operators measure, and the port it is told at |
//! | [`http`] | HTTP servers below the router: bounded connections, timeouts, graceful stop |
//! | [`store`] | Redis: the live state all workers share, one script per change |
//! | [`bus`] | NATS: subjects, streams, the two doors, the journal |
//! | [`brokers`] | the adapter trait, the task in front of each broker, the paper venues |
//! | [`worker`] | the pipeline, and what happens outside of a call |
//! | [`sidecar`] | REST: the same requests over HTTP, bridged to the bus |
//! | [`bench`] | load, and what it measures |
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
pub mod risk;
pub mod sidecar;
pub mod store;
pub mod telemetry;
pub mod wire;
pub mod worker;
