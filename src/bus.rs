//! NATS: subjects, topology, the two doors, the journal, and the caller's side.
//!
//! Nothing of `async-nats` is visible outside this room but [`connection::Bus`]'s own handle. Every wait for the network
//! has a limit, and every queue a maximum.

pub mod connection;
pub mod durable_door;
pub mod headers;
pub mod journal;
pub mod quote_subscription;
pub(crate) mod reply_codec;
pub mod reply_inbox;
pub mod request;
pub mod request_door;
pub mod router_client;
pub mod stream_follower;
pub mod subjects;
pub mod submission_client;
pub mod topology;
pub mod trace_context;

pub use crate::bus::connection::BusError;
