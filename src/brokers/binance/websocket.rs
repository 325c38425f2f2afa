//! WebSocket connections to the venue.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::brokers::binance::transport::venue_stream::{VenueConnector, VenueStream};

/// The largest message: an account's balances.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// How long the handshake and the sending of one message may take.
const STEP_TIME_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may be silent. The venue sends a ping every 20 s (`web-socket-api.md`, "General API information").
pub const MAX_SILENCE: Duration = Duration::from_secs(60);

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionEnd {
    /// The venue is unreachable, or the connection failed.
    #[error("the connection failed: {0}")]
    Failed(String),
    /// The venue closed the connection.
    #[error("the venue closed the connection")]
    Closed,
    /// Nothing arrived for too long, not even a ping.
    #[error("nothing arrived for {} s", MAX_SILENCE.as_secs())]
    Silent,
}

/// A connection. Pings are answered with their own payload as they are read.
pub struct VenueWebSocket(WebSocketStream<VenueStream>);

impl VenueWebSocket {
    /// Opens a connection at a path below the address's own.
    ///
    /// # Errors
    /// When the venue is unreachable, or does not accept.
    pub async fn open(connector: &VenueConnector, path: &str) -> Result<Self, ConnectionEnd> {
        let address = connector.address();
        let scheme = if address.has_tls { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{}{path}", address.authority, address.base_path);
        let stream = connector.connect().await.map_err(|error| failed(&error))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let handshake = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
        let (socket, _) = timeout(STEP_TIME_LIMIT, handshake)
            .await
            .map_err(|_| ConnectionEnd::Failed("no handshake in time".to_owned()))?
            .map_err(|error| failed(&error))?;
        Ok(Self(socket))
    }

    /// Sends a text.
    ///
    /// # Errors
    /// When it cannot be written in time.
    pub async fn send(&mut self, text: String) -> Result<(), ConnectionEnd> {
        let sent = timeout(STEP_TIME_LIMIT, self.0.send(Message::text(text))).await;
        sent.map_err(|_| ConnectionEnd::Failed("a message could not be written in time".to_owned()))?
            .map_err(|error| failed(&error))
    }

    /// Waits for the next text. May be dropped at any time without losing one.
    ///
    /// # Errors
    /// Why there will be none.
    pub async fn next_text(&mut self) -> Result<String, ConnectionEnd> {
        loop {
            let message = timeout(MAX_SILENCE, self.0.next())
                .await
                .map_err(|_| ConnectionEnd::Silent)?;
            match message {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(_))) | None => return Err(ConnectionEnd::Closed),
                // The library answers a ping when it is polled again. The venue sends no binary messages here.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(failed(&error)),
            }
        }
    }
}

fn failed(error: &impl ToString) -> ConnectionEnd {
    ConnectionEnd::Failed(error.to_string())
}
