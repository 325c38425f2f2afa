//! The worker's own port, for Prometheus and for health checks. It accepts no orders and exposes no secrets: its readers
//! see counts of orders and the used part of the limits.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::config::listen_address::ListenAddress;
use crate::http::{ConnectionLimits, ConnectionServer, PlaceLimits, bind_listener, resolve_host};
use crate::telemetry::Telemetry;

/// The maximum number of open connections. A connection without a request makes room for a further one.
const MAX_CONNECTIONS: usize = 64;
/// The maximum time of a connection, which serves one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum size of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1_024;

const LIMITS: ConnectionLimits = ConnectionLimits {
    places: PlaceLimits {
        max_connections: MAX_CONNECTIONS,
        max_unidentified: 0,
        max_unidentified_per_peer: 0,
    },
    full_response: b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    max_head_bytes: MAX_HEAD_BYTES,
    head_timeout: CONNECTION_TIMEOUT,
    write_timeout: CONNECTION_TIMEOUT,
    one_request_within: Some(CONNECTION_TIMEOUT),
};

/// The open metrics port. Dropping the listener closes it.
#[derive(Debug)]
pub struct MetricsListener {
    address: SocketAddr,
    server: ConnectionServer,
}

impl MetricsListener {
    /// Opens the port at the first address of the host and serves `/metrics`, `/health` and `/health/live`.
    ///
    /// # Errors
    /// When the host has no address, or the system refuses it.
    pub async fn open(address: &ListenAddress, telemetry: Telemetry) -> std::io::Result<Self> {
        let resolved = resolve_host(address.host(), address.port()).await?;
        let listener = bind_listener(resolved[0])?;
        Ok(Self {
            address: listener.local_addr()?,
            server: ConnectionServer::start(listener, router(telemetry), LIMITS),
        })
    }

    /// Returns the address that the listener is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections and waits for the open ones, at most as long as one may take.
    pub async fn close(self) {
        self.server.drain().await;
    }
}

fn router(telemetry: Telemetry) -> Router {
    let no_such_method = async || (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    let no_such_path = async || {
        (
            StatusCode::NOT_FOUND,
            "there is only /metrics, /health and /health/live\n",
        )
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/health/live", get(async || "live\n"))
        .method_not_allowed_fallback(no_such_method)
        .fallback(no_such_path)
        .with_state(telemetry)
}

async fn metrics(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    ([(CONTENT_TYPE, crate::telemetry::CONTENT_TYPE)], telemetry.render())
}

async fn health(State(telemetry): State<Telemetry>) -> (StatusCode, String) {
    match telemetry.obstacle() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(obstacle) => {
            let body = format!("this worker accepts no orders: {obstacle}\n");
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}
