//! Reference prices as they are published: core NATS, no acknowledgement, no history.

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::bus::connection::{Bus, BusError, ConnectPolicy, connect, with_timeout};
use crate::bus::subjects;
use crate::config::nats::NatsSettings;

/// A subscription to every quote, on a connection of its own: a flood of quotes holds up no order and no append.
#[derive(Debug)]
pub struct QuoteSubscription {
    bus: Bus,
    subscription: Subscriber,
}

/// A message under a subject of quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteMessage {
    /// Its subject, as [`subjects::quotes`] makes it.
    pub subject: String,
    /// What it says; nobody has looked at it yet.
    pub body: Bytes,
}

impl QuoteSubscription {
    /// Connects and subscribes; when it returns, quotes that are published arrive here.
    ///
    /// # Errors
    /// When there is no connection within `patience`.
    pub async fn open(settings: &NatsSettings, policy: ConnectPolicy) -> Result<Self, BusError> {
        let bus = connect(settings, "order-router quotes", policy).await?;
        let asked = bus.client.subscribe(subjects::QUOTES_WILDCARD);
        let subscription = with_timeout(bus.request_timeout(), "subscribing to quotes", asked).await?;
        bus.round_trip().await?;
        Ok(Self { bus, subscription })
    }

    /// Returns the next message, or `None` once the connection is closed for good. While it is down nothing comes, and
    /// what is published then is lost.
    pub async fn next(&mut self) -> Option<QuoteMessage> {
        let message = self.subscription.next().await?;
        Some(QuoteMessage {
            subject: message.subject.to_string(),
            body: message.payload,
        })
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.bus.is_connected()
    }
}
