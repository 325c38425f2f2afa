//! One HTTP/1.1 connection, for one exchange at a time.
//!
//! This is `hyper::client::conn::http1`, below every client that pools, redirects or retries: its `SendRequest` writes a
//! request to its own connection or returns it. (`hyper_util`'s pooling client sends a request again on a new connection
//! unless `retry_canceled_requests(false)`; `reqwest` follows redirects and retries by default.) So there is nothing to
//! switch off here, and nothing that a later version could switch on.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::brokers::binance::transport::venue_stream::VenueConnector;

/// How long an open connection may take to become ready. Its last exchange is over: one step of its driver is enough.
const READY_TIME_LIMIT: Duration = Duration::from_millis(250);

/// A reply.
#[derive(Debug, Clone)]
pub struct HttpReply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The time between the request and the end of the reply.
    pub elapsed: Duration,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No byte of the request was written.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// The request was written, or may have been, in part or in full.
    #[error("the reply was lost: {0}")]
    Lost(String),
}

/// An open connection.
pub struct HttpConnection {
    sender: SendRequest<String>,
    idle_since: Instant,
}

impl HttpConnection {
    /// Opens a connection.
    ///
    /// # Errors
    /// When the venue is unreachable.
    pub async fn open(connector: &VenueConnector) -> Result<Self, String> {
        let stream = connector.connect().await.map_err(|error| error.to_string())?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // The driver ends with its sender, or with the connection.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection to the venue ended");
            }
        });
        Ok(Self {
            sender,
            idle_since: Instant::now(),
        })
    }

    /// Reports whether the connection is open, as far as is known here, and has not been idle for longer than this.
    pub fn is_usable(&self, max_idle: Duration) -> bool {
        !self.sender.is_closed() && self.idle_since.elapsed() <= max_idle
    }

    /// Waits until the connection can send.
    ///
    /// # Errors
    /// When it is closed, or does not become ready.
    pub async fn ready(&mut self) -> Result<(), String> {
        match timeout(READY_TIME_LIMIT, self.sender.ready()).await {
            Ok(ready) => ready.map_err(|error| error.to_string()),
            Err(_) => Err("the connection does not become ready".to_owned()),
        }
    }

    /// Sends a request once and reads the reply in full. Dropping the call closes the connection, so that no later request
    /// can get this reply.
    ///
    /// # Errors
    /// Whether the request may have been sent.
    pub async fn exchange(
        mut self,
        request: Request<String>,
        max_body_bytes: usize,
    ) -> Result<(HttpReply, Self), ExchangeError> {
        let started_at = Instant::now();
        // `try_send_request` returns the request in its error exactly if the error came before the first byte was
        // serialised (hyper 1.12, `client/dispatch.rs`: an envelope never taken from the queue); after that the message is
        // gone, and so is the certainty.
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut failure) => {
                let is_unsent = failure.take_message().is_some();
                let reason = failure.into_error().to_string();
                return Err(if is_unsent {
                    ExchangeError::NotSent(reason)
                } else {
                    ExchangeError::Lost(reason)
                });
            }
        };
        let (head, body) = response.into_parts();
        let body = read_body(body, max_body_bytes).await.map_err(ExchangeError::Lost)?;
        let reply = HttpReply {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            elapsed: started_at.elapsed(),
        };
        self.idle_since = Instant::now();
        Ok((reply, self))
    }
}

/// Reads a body of at most `max_bytes`.
async fn read_body(mut body: Incoming, max_bytes: usize) -> Result<Bytes, String> {
    let mut read = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| error.to_string())?;
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > max_bytes {
                return Err(format!("the reply has more than {max_bytes} bytes"));
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}
