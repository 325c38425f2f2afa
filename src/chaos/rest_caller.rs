//! Requests to the sidecar, each over a connection of its own: none is repeated below this.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bus::headers;
use crate::domain::time::Timestamp;

/// The longest response body, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// A complete response.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct RestReply {
    /// The status.
    pub(in crate::chaos) status: u16,
    /// The body.
    pub(in crate::chaos) body: Bytes,
}

/// Why there is no complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum RestFailure {
    /// The connection was refused: nothing was sent.
    NotConnected,
    /// The request may have been sent.
    NoReply,
}

/// A caller of one sidecar.
#[derive(Debug, Clone, Copy)]
pub(in crate::chaos) struct RestCaller {
    address: SocketAddr,
}

impl RestCaller {
    /// Returns a caller of the sidecar at an address.
    pub(in crate::chaos) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Posts JSON with a deadline, and waits for the response until `limit` has passed.
    ///
    /// # Errors
    /// See [`RestFailure`].
    pub(in crate::chaos) async fn post(
        &self,
        path: &str,
        body: Bytes,
        deadline: Timestamp,
        limit: Duration,
    ) -> Result<RestReply, RestFailure> {
        let request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, "application/json");
        let request = request.header(headers::DEADLINE, deadline.to_string());
        self.exchange(request.body(Body::from(body)), limit).await
    }

    /// Gets a path.
    ///
    /// # Errors
    /// See [`RestFailure`].
    pub(in crate::chaos) async fn get(&self, path: &str, limit: Duration) -> Result<RestReply, RestFailure> {
        self.exchange(self.request(Method::GET, path).body(Body::empty()), limit)
            .await
    }

    /// Puts JSON at a path.
    ///
    /// # Errors
    /// See [`RestFailure`].
    pub(in crate::chaos) async fn put(
        &self,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<RestReply, RestFailure> {
        let request = self.request(Method::PUT, path).header(CONTENT_TYPE, "application/json");
        self.exchange(request.body(Body::from(body)), limit).await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let request = Request::builder().method(method).uri(path);
        request.header(HOST, self.address.to_string())
    }

    async fn exchange(
        &self,
        request: Result<Request<Body>, hyper::http::Error>,
        limit: Duration,
    ) -> Result<RestReply, RestFailure> {
        let Ok(request) = request else {
            return Err(RestFailure::NotConnected);
        };
        let connected = timeout(limit, TcpStream::connect(self.address)).await;
        let Ok(Ok(stream)) = connected else {
            return Err(RestFailure::NotConnected);
        };
        let replied = timeout(limit, exchange_on(stream, request)).await;
        replied.ok().flatten().ok_or(RestFailure::NoReply)
    }
}

async fn exchange_on(stream: TcpStream, request: Request<Body>) -> Option<RestReply> {
    stream.set_nodelay(true).ok()?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    let exchange = async {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = to_bytes(Body::new(response.into_body()), MAX_RESPONSE_BYTES)
            .await
            .ok()?;
        Some(RestReply { status, body })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        reply = &mut exchange => reply,
        // The connection may end together with the last bytes of the response.
        _ = connection => exchange.await,
    }
}
