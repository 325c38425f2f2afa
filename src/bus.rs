//! NATS: subjects, streams and consumers, the two doors, the journal, and the client that calls workers.
//!
//! The client's side is that of [`order_router_client::bus`]: connection, [`subjects`], headers, requests, followers. The
//! workers' side is here. Start with [`subjects`] and [`request`]. Outside this room only the handle of
//! [`connection::Bus`] shows that `async-nats` is used. Every wait for the network has a time limit, and every queue has a
//! maximum.

pub mod drain;
pub mod durable_door;
pub mod journal;
pub mod permission_probe;
pub mod quote_subscription;
pub mod request;
pub mod request_door;
pub mod topology;
pub mod worker_directory;

pub use order_router_client::bus::*;
