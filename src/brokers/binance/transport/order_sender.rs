//! The one way in which an order leaves: once.
//!
//! [`SignedOrder`] is neither `Clone` nor readable, and [`OrderConnection::send_once`] consumes it together with its
//! connection: a second attempt does not compile. Reads have a client of their own, which may repeat
//! ([`crate::brokers::binance::rest_reader`]).

use std::time::Duration;

use hyper::Request;
use tokio::time::timeout;

use crate::brokers::binance::transport::connection_pool::ConnectionPool;
use crate::brokers::binance::transport::http_connection::{ExchangeError, HttpConnection, HttpReply};

/// The largest reply to an order: some thousand fills.
const MAX_REPLY_BYTES: usize = 1024 * 1024;

/// A signed order, to be sent once.
pub struct SignedOrder(Request<String>);

/// What came of sending an order.
#[derive(Debug)]
pub enum OrderReply {
    /// The venue replied; the status is not judged yet.
    Replied(HttpReply),
    /// No byte was sent.
    NotSent(String),
    /// The order was or may have been sent, and there is no reply.
    Lost(String),
}

/// An open connection that is reserved for one order.
pub struct OrderConnection<'a> {
    pool: &'a ConnectionPool,
    connection: HttpConnection,
}

impl SignedOrder {
    /// Returns the order of a signed request.
    pub fn new(request: Request<String>) -> Self {
        Self(request)
    }
}

impl<'a> OrderConnection<'a> {
    /// Reserves an open connection: an order that finds none is not announced, and certainly not sent.
    ///
    /// # Errors
    /// When the venue is unreachable.
    pub async fn reserve(pool: &'a ConnectionPool) -> Result<Self, String> {
        let connection = pool.take().await?;
        Ok(Self { pool, connection })
    }

    /// Sends an order and waits for the reply, at most for `time_limit`. There is no second attempt and no redirect,
    /// whatever the reply.
    pub async fn send_once(self, order: SignedOrder, time_limit: Duration) -> OrderReply {
        let exchange = self.connection.exchange(order.0, MAX_REPLY_BYTES);
        match timeout(time_limit, exchange).await {
            Ok(Ok((reply, connection))) => {
                self.pool.put_back(connection);
                OrderReply::Replied(reply)
            }
            Ok(Err(ExchangeError::NotSent(reason))) => OrderReply::NotSent(reason),
            Ok(Err(ExchangeError::Lost(reason))) => OrderReply::Lost(reason),
            Err(_) => OrderReply::Lost(format!("no reply within {} ms", time_limit.as_millis())),
        }
    }
}
