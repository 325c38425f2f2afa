//! The settings of a connection: addresses, credentials, TLS, time limits.

pub mod connection;
pub mod private_file;
pub mod retry;
pub mod secret;
pub mod tls;
