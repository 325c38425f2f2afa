//! Published reference prices: core NATS, without acknowledgements and without history.

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::bus::connection::{Bus, BusError, ConnectPolicy, connect, with_timeout};
use crate::bus::subjects;
use crate::config::nats::NatsSettings;

/// A subscription to every quote, on a connection of its own: a flood of quotes delays no order and no append.
#[derive(Debug)]
pub struct QuoteSubscription {
    bus: Bus,
    subscription: Subscriber,
}

/// A message on a quote subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteMessage {
    /// Its subject, in the form of [`subjects::quote`].
    pub subject: String,
    /// Its payload, not yet parsed.
    pub body: Bytes,
}

impl QuoteSubscription {
    /// Connects and subscribes. Quotes that are published after it returns are received.
    ///
    /// # Errors
    /// When `policy` allows no further attempt to connect, or the server refuses the subscription.
    pub async fn open(settings: &NatsSettings, policy: ConnectPolicy) -> Result<Self, BusError> {
        let bus = connect(settings, "order-router quotes", policy).await?;
        let subscribed = bus.client.subscribe(subjects::QUOTES_WILDCARD);
        let subscription = with_timeout(bus.request_timeout(), "subscribing to quotes", subscribed).await?;
        bus.round_trip().await?;
        Ok(Self { bus, subscription })
    }

    /// Returns the next message, or `None` once the connection is closed for good. While the connection is down no
    /// message arrives, and quotes published then are lost.
    pub async fn next(&mut self) -> Option<QuoteMessage> {
        let message = self.subscription.next().await?;
        Some(QuoteMessage {
            subject: message.subject.to_string(),
            body: message.payload,
        })
    }

    /// Reports whether the connection is up, as far as the client library knows.
    pub fn is_connected(&self) -> bool {
        self.bus.is_connected()
    }
}
