//! The client's side of NATS: the connection, subjects and headers, requests with their replies, and streams.
//!
//! Every wait for the network has a time limit, and every queue has a maximum. [`router_client::RouterClient`] sends
//! requests; the methods of [`crate::client`] give them types.

pub mod connection;
pub mod headers;
pub mod pull_consumer;
pub mod reply;
pub mod reply_codec;
pub mod reply_inbox;
pub mod router_client;
pub mod stream_entry;
pub mod stream_follower;
pub mod subjects;
pub mod submission_client;

pub use crate::bus::connection::BusError;
