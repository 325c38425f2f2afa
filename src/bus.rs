//! NATS: subjects, topology, the two doors, the journal, and the caller's side.
//!
//! Nothing of `async-nats` is visible outside this room but [`connection::Bus`]'s own handle. Every wait for the network
//! has a limit, and every queue a maximum.

mod answer;
pub mod call;
pub mod client;
pub mod connection;
pub mod feed;
pub mod headers;
pub mod journal;
pub mod queue;
pub mod quotes;
pub mod replies;
pub mod service;
pub mod subjects;
pub mod topology;

pub use connection::BusError;
