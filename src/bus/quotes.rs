//! Reference prices as they are published: core NATS, no acknowledgement, no history.

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;

use super::connection::{Bus, BusError, Patience, connect, within};
use super::subjects;
use crate::config::nats::NatsSettings;

/// A subscription to every quote, on a connection of its own: a flood of quotes holds up no order and no append.
#[derive(Debug)]
pub struct Quotes {
    bus: Bus,
    subscription: Subscriber,
}

/// A message under a subject of quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its subject, as [`subjects::quotes`] makes it.
    pub subject: String,
    /// What it says; nobody has looked at it yet.
    pub body: Bytes,
}

impl Quotes {
    /// Connects and subscribes; when it returns, quotes that are published arrive here.
    ///
    /// # Errors
    /// When there is no connection within `patience`.
    pub async fn start(settings: &NatsSettings, patience: Patience) -> Result<Self, BusError> {
        let bus = connect(settings, "order-router quotes", patience).await?;
        let asked = bus.client.subscribe(subjects::QUOTES_ALL);
        let subscription = within(bus.request_timeout(), "subscribing to quotes", asked).await?;
        bus.round_trip().await?;
        Ok(Self { bus, subscription })
    }

    /// Returns the next message, or `None` once the connection is closed for good. While it is down nothing comes, and
    /// what is published then is lost.
    pub async fn next(&mut self) -> Option<Published> {
        let message = self.subscription.next().await?;
        Some(Published {
            subject: message.subject.to_string(),
            body: message.payload,
        })
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.bus.is_connected()
    }
}
