//! HTTP servers below the router: which connections are accepted, and how long each may take.
//!
//! No business logic: an axum `Router` answers the requests. The sidecar and the metrics listener each run a
//! [`ConnectionServer`] with [`ConnectionLimits`] of their own.

mod connections;
mod places;
mod write_limit;

pub use crate::http::connections::{ConnectionLimits, ConnectionServer, Peer, bind_listener, resolve_host};
pub use crate::http::places::{ConnectionPlace, PlaceLimits, peer_network};
