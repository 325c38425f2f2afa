//! Idle connections to one address, each taken by one exchange at a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::brokers::binance::transport::http_connection::HttpConnection;
use crate::brokers::binance::transport::venue_stream::VenueConnector;

/// The most idle connections that are kept.
const MAX_IDLE_CONNECTIONS: usize = 16;
/// How long a connection may be idle before it is used again. A venue closes idle connections; the older one is, the likelier
/// a request meets the close, and its outcome would be unknown.
const MAX_IDLE_TIME: Duration = Duration::from_secs(15);

/// Connections to one address.
pub struct ConnectionPool {
    connector: VenueConnector,
    idle: Mutex<Vec<HttpConnection>>,
}

impl ConnectionPool {
    /// Returns a pool without connections.
    pub fn new(connector: VenueConnector) -> Self {
        Self {
            connector,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Returns the connector.
    pub fn connector(&self) -> &VenueConnector {
        &self.connector
    }

    /// Takes the connection that was used last, or opens one.
    ///
    /// # Errors
    /// When there is none and the venue is unreachable.
    pub async fn take(&self) -> Result<HttpConnection, String> {
        while let Some(mut connection) = self.take_idle() {
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        self.open().await
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the venue is unreachable.
    pub async fn open(&self) -> Result<HttpConnection, String> {
        let mut connection = HttpConnection::open(&self.connector).await?;
        connection.ready().await?;
        Ok(connection)
    }

    /// Keeps a connection for the next exchange, unless it is closed or enough are kept.
    pub fn put_back(&self, connection: HttpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }

    /// Drops connections that are too old, and opens one if none is left: the next order finds one that is open.
    ///
    /// # Errors
    /// When the venue is unreachable.
    pub async fn keep_one_open(&self) -> Result<(), String> {
        let has_connection = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|connection| connection.is_usable(MAX_IDLE_TIME));
            !idle.is_empty()
        };
        if !has_connection {
            let connection = self.open().await?;
            self.put_back(connection);
        }
        Ok(())
    }

    /// Drops every idle connection, for tests.
    #[cfg(test)]
    pub fn drop_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take_idle(&self) -> Option<HttpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_usable(MAX_IDLE_TIME) {
                return Some(connection);
            }
        }
        None
    }
}
