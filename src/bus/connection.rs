//! The connection: made within bounds, watched, and checked for what its server can do.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{self, ContextBuilder};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use crate::bus::subjects;
use crate::config::nats::NatsSettings;

/// The most messages one subscription holds before the library drops some.
const SUBSCRIPTION_CAPACITY: usize = 65_536;
/// The first pause between attempts to connect; each next one is twice as long.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);
/// The longest pause between attempts to connect.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);
/// How often a connection that is down is looked at.
const STATE_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The count that ends a subscription at once on the server and never in the client library.
///
/// `UNSUB` with a count ends a subscription after so many messages; the server takes a count of more than nine digits
/// for none and ends it at once (nats-server, `processUnsub` and `parseSize`). The library's own ways to stop drop what
/// is on its way.
const UNSUBSCRIBE_AT_ONCE: u64 = u64::MAX;

/// How long to go on trying for the first connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectPolicy {
    /// One attempt: for a command a person waits for.
    Once,
    /// Attempts until this much time has passed: for a daemon that may be up before its server.
    RetryFor(Duration),
}

/// Why something on the bus failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The server is out of reach.
    #[error("the bus is out of reach: {0}")]
    Unreachable(String),
    /// The server does not know us, or does not let us.
    #[error("the bus refuses us: {0}; check the NATS user, password or credentials file and its permissions")]
    Unauthorized(String),
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The server is too old.
    #[error("nats-server {0} is too old: 2.10 or newer is needed")]
    ServerTooOld(String),
    /// No answer in time.
    #[error("no answer from the bus within {0:?}: {1}")]
    TimedOut(Duration, &'static str),
    /// The server answered with an error.
    #[error("the bus answered with an error: {0}")]
    Refused(String),
    /// The journal lacks entries that it must have had.
    #[error("the journal lacks the entries {from} to {to}")]
    JournalGap {
        /// The first sequence that is missing.
        from: u64,
        /// The last sequence that is missing.
        to: u64,
    },
}

/// The version of a NATS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl ServerVersion {
    /// The oldest version that works at all.
    pub const MINIMUM: Self = Self { major: 2, minor: 9 };
    /// The oldest version that is supported: it can sync each append (`sync_interval`).
    pub const SUPPORTED: Self = Self { major: 2, minor: 10 };
    /// The oldest version with atomic batches.
    pub const ATOMIC_BATCHES: Self = Self { major: 2, minor: 12 };

    /// Reads the version a server tells, such as `2.12.1` or `v2.11.0-beta`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim_start_matches('v').split(['.', '-']);
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

/// A connection to NATS; clones share it.
#[derive(Debug, Clone)]
pub struct Bus {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    request_timeout: Duration,
    server_version: ServerVersion,
}

/// Connects and checks the server's version.
///
/// # Errors
/// When the server is out of reach for longer than `patience` allows, refuses us, or is too old.
pub async fn connect(settings: &NatsSettings, connection_name: &str, policy: ConnectPolicy) -> Result<Bus, BusError> {
    let end = match policy {
        ConnectPolicy::Once => Instant::now(),
        ConnectPolicy::RetryFor(span) => Instant::now() + span,
    };
    let mut pause = FIRST_RETRY_DELAY;
    loop {
        match connect_once(settings, connection_name).await {
            Ok(client) => return build_bus(client, settings),
            Err(BusError::Unreachable(reason)) if Instant::now() + pause < end => {
                tracing::warn!(reason, connection = connection_name, "no connection to NATS yet");
                sleep(pause).await;
                pause = (pause * 2).min(MAX_RETRY_DELAY);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn connect_once(settings: &NatsSettings, connection_name: &str) -> Result<Client, BusError> {
    let name = connection_name.to_owned();
    let mut options = ConnectOptions::new()
        .name(connection_name)
        .connection_timeout(settings.connect_timeout())
        .request_timeout(Some(settings.request_timeout()))
        .ping_interval(settings.ping_interval())
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .max_reconnects(None)
        .event_callback(move |event| {
            log_event(&name, &event);
            async {}
        });
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.reveal().to_owned());
    }
    if let Some(path) = &settings.credentials_file {
        let unusable = |error: std::io::Error| BusError::Settings(format!("nats.credentials_file {path}: {error}"));
        let text = tokio::fs::read_to_string(path).await.map_err(unusable)?;
        options = options.credentials(&text).map_err(unusable)?;
    }
    let addresses: Vec<&str> = settings.url.split(',').map(str::trim).collect();
    let limit = settings.connect_timeout() * u32::try_from(addresses.len()).unwrap_or(1) + settings.connect_timeout();
    match timeout(limit, options.connect(addresses.as_slice())).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(match error.kind() {
            ConnectErrorKind::ServerParse => BusError::Settings(format!("nats.url: {error}")),
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                BusError::Unauthorized(error.to_string())
            }
            _ => BusError::Unreachable(format!("{} ({error})", settings.url)),
        }),
        Err(_) => Err(BusError::Unreachable(format!("{} (no answer)", settings.url))),
    }
}

fn build_bus(client: Client, settings: &NatsSettings) -> Result<Bus, BusError> {
    let text = client.server_info().version;
    let version = ServerVersion::parse(&text).ok_or_else(|| BusError::ServerTooOld(text.clone()))?;
    if version < ServerVersion::MINIMUM {
        return Err(BusError::ServerTooOld(text));
    }
    if version < ServerVersion::SUPPORTED {
        tracing::warn!(
            version = text,
            "this nats-server is older than 2.10: it cannot sync each append, so a power cut loses acknowledged reports"
        );
    }
    let jetstream = ContextBuilder::new()
        .timeout(settings.request_timeout())
        .build(client.clone());
    Ok(Bus {
        client,
        jetstream,
        request_timeout: settings.request_timeout(),
        server_version: version,
    })
}

fn log_event(connection: &str, event: &Event) {
    match event {
        Event::Connected => tracing::info!(connection, "connected to NATS"),
        Event::SlowConsumer(subscription) => {
            tracing::error!(
                connection,
                subscription,
                "a subscription is full: messages were dropped"
            );
        }
        Event::Draining | Event::Closed => tracing::debug!(connection, %event, "NATS connection"),
        _ => tracing::warn!(connection, %event, "NATS connection"),
    }
}

impl Bus {
    /// Whether the connection stands, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until the connection stands; false when it does not within `limit`.
    pub async fn wait_until_connected(&self, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        while !self.is_connected() {
            if Instant::now() >= end {
                return false;
            }
            sleep(STATE_POLL_INTERVAL).await;
        }
        true
    }

    /// Returns the server's version as it was when the connection was made.
    pub fn server_version(&self) -> ServerVersion {
        self.server_version
    }

    /// Returns the longest time one exchange with the server takes.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Publishes without any acknowledgement: market data, alerts a stream need not keep, answers.
    ///
    /// # Errors
    /// When the message is too large, or the connection has been away so long that its buffer is full.
    pub async fn publish(&self, subject: String, body: Bytes) -> Result<(), BusError> {
        self.publish_with_headers(subject, HeaderMap::new(), body).await
    }

    pub(crate) async fn publish_with_headers(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), BusError> {
        let sent = async {
            if headers.is_empty() {
                self.client.publish(subject, body).await
            } else {
                self.client.publish_with_headers(subject, headers, body).await
            }
        };
        with_timeout(self.request_timeout, "publishing", sent).await
    }

    /// Waits until the server has handled what was sent before, and everything it sent before has arrived here.
    ///
    /// A message to ourselves: each side handles what the other sends in order. (The library's `flush` waits for the
    /// socket only.)
    ///
    /// # Errors
    /// When the message has not come back within the time limit of an exchange.
    pub async fn round_trip(&self) -> Result<(), BusError> {
        let returned = async {
            let fence = subjects::fence();
            let mut echo = self
                .client
                .subscribe(fence.clone())
                .await
                .map_err(|error| error.to_string())?;
            let sent = self.client.publish(fence, Bytes::new()).await;
            sent.map_err(|error| error.to_string())?;
            echo.next().await.ok_or_else(|| "the connection was closed".to_owned())
        };
        with_timeout(self.request_timeout, "a round trip", returned)
            .await
            .map(drop)
    }
}

/// Ends a subscription on the server while what is on its way is still delivered; [`Bus::round_trip`] tells when all is.
pub(crate) async fn unsubscribe_on_server(bus: &Bus, subscription: &mut Subscriber) {
    // A connection that is gone has no subscription any more.
    let _ = timeout(bus.request_timeout, subscription.unsubscribe_after(UNSUBSCRIBE_AT_ONCE)).await;
}

/// Awaits an exchange with the server, but no longer than `limit`.
pub(crate) async fn with_timeout<T, E: std::fmt::Display>(
    limit: Duration,
    operation: &'static str,
    exchange: impl Future<Output = Result<T, E>>,
) -> Result<T, BusError> {
    match timeout(limit, exchange).await {
        Ok(result) => result.map_err(|error| BusError::Refused(format!("{operation}: {error}"))),
        Err(_) => Err(BusError::TimedOut(limit, operation)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(ServerVersion::parse("2.9.10").unwrap() < ServerVersion::SUPPORTED);
        assert!(ServerVersion::parse("v2.12.0-beta.1").unwrap() >= ServerVersion::ATOMIC_BATCHES);
        assert_eq!(ServerVersion::parse("main"), None);
    }
}
