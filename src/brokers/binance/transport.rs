//! Connections to the venue: TCP, TLS and HTTP/1.1, without anything that repeats a request.

pub mod address;
pub mod connection_pool;
pub mod http_connection;
pub mod order_sender;
pub mod venue_stream;
