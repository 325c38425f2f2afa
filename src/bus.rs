//! NATS: subjects, streams and consumers, the two doors, the journal, and the client that calls workers.
//!
//! Start with [`subjects`] and [`request`]. Outside this room only the handle of [`connection::Bus`] shows that
//! `async-nats` is used. Every wait for the network has a time limit, and every queue has a maximum.

pub mod connection;
pub mod drain;
pub mod durable_door;
pub mod headers;
pub mod journal;
pub mod permission_probe;
mod pull_consumer;
pub mod quote_subscription;
pub(crate) mod reply_codec;
pub mod reply_inbox;
pub mod request;
pub mod request_door;
pub mod router_client;
pub mod stream_entry;
pub mod stream_follower;
pub mod subjects;
pub mod submission_client;
pub mod topology;
pub mod trace_context;

pub use crate::bus::connection::BusError;
