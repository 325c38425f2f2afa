//! The connection to NATS: established within a time limit, observed, and checked for its server's version.

mod denials;
mod error;
mod server_version;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{self, ContextBuilder};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

pub use crate::bus::connection::denials::AwaitedSubjects;
use crate::bus::connection::denials::Denials;
pub use crate::bus::connection::error::BusError;
pub use crate::bus::connection::server_version::ServerVersion;
use crate::bus::subjects;
use crate::config::connection::ConnectionSettings;
use crate::config::private_file::read_private_file;
use crate::config::tls::describe_tls_failure;
use crate::repeated_log::log_at_intervals;

/// The maximum number of messages that one subscription buffers; the client library drops further ones.
const SUBSCRIPTION_CAPACITY: usize = 65_536;
/// The delay before the second attempt to connect; each further delay is twice as long.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);
/// The maximum delay between attempts to connect.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The most bytes of a file with an NKey seed.
const MAX_SEED_BYTES: u64 = 4_096;
/// How often the state of a lost connection is polled.
const STATE_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The message count that ends a subscription immediately on the server and never in the client library.
///
/// `UNSUB` with a count ends a subscription after that many messages. The server reads a count of more than nine digits
/// as no count and ends the subscription immediately (nats-server, `processUnsub` and `parseSize`). The client library's
/// own methods drop the messages in transit.
const UNSUBSCRIBE_AT_ONCE: u64 = u64::MAX;

/// How long the first connection is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectPolicy {
    /// One attempt: for a command that a person waits for.
    Once,
    /// Retries until this much time has passed: for a daemon that may start before its server.
    RetryFor(Duration),
}

/// A connection to NATS; clones share it.
#[derive(Debug, Clone)]
pub struct Bus {
    /// The connection of the client library.
    pub client: Client,
    /// JetStream on the same connection.
    pub jetstream: jetstream::Context,
    request_timeout: Duration,
    server_version: ServerVersion,
    denials: Denials,
    inbox_prefix: Arc<str>,
}

/// Connects to NATS and checks the server's version.
///
/// # Errors
/// When the server is unreachable for longer than `policy` allows, rejects the credentials, is too old, or has a
/// certificate that is not trusted, or when a file of the settings is not usable.
pub async fn connect(
    settings: impl Into<ConnectionSettings>,
    connection_name: &str,
    policy: ConnectPolicy,
) -> Result<Bus, BusError> {
    let settings = &settings.into();
    let mut errors = Vec::new();
    settings.validate(&mut errors);
    if !errors.is_empty() {
        return Err(BusError::Settings(errors.join("; ")));
    }
    let end = match policy {
        ConnectPolicy::Once => Instant::now(),
        ConnectPolicy::RetryFor(span) => Instant::now() + span,
    };
    let mut delay = FIRST_RETRY_DELAY;
    loop {
        match connect_once(settings, connection_name).await {
            Ok((client, denials)) => return build_bus(client, denials, settings),
            Err(BusError::Unreachable(reason)) if Instant::now() + delay < end => {
                log_at_intervals!(
                    warn,
                    reason,
                    connection = connection_name,
                    "NATS is unreachable; retrying"
                );
                sleep(delay).await;
                delay = (delay * 2).min(MAX_RETRY_DELAY);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn connect_once(settings: &ConnectionSettings, connection_name: &str) -> Result<(Client, Denials), BusError> {
    let (name, denials) = (connection_name.to_owned(), Denials::default());
    let recorded = denials.clone();
    let mut options = ConnectOptions::new()
        .name(connection_name)
        .connection_timeout(settings.connect_timeout)
        .request_timeout(Some(settings.request_timeout))
        .ping_interval(settings.ping_interval)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .custom_inbox_prefix(&settings.inbox_prefix)
        .max_reconnects(None)
        .event_callback(move |event| {
            log_event(&name, &event);
            recorded.record(&event);
            async {}
        });
    options = add_credentials(options, settings).await?;
    options = add_certificates(options, settings)?;
    let addresses: Vec<&str> = settings.url.split(',').map(str::trim).collect();
    let limit = settings.connect_timeout * u32::try_from(addresses.len()).unwrap_or(1) + settings.connect_timeout;
    match timeout(limit, options.connect(addresses.as_slice())).await {
        Ok(Ok(client)) => Ok((client, denials)),
        Ok(Err(error)) => Err(match error.kind() {
            ConnectErrorKind::ServerParse => BusError::Settings(format!("nats.url: {error}")),
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                BusError::Unauthorized(error.to_string())
            }
            _ => match describe_tls_failure("nats", &error) {
                Some(failure) => BusError::Settings(failure),
                None => BusError::Unreachable(format!("{} ({error})", settings.url)),
            },
        }),
        Err(_) => Err(BusError::Unreachable(format!("{} (no reply in time)", settings.url))),
    }
}

/// Adds what the user identifies itself with.
async fn add_credentials(
    mut options: ConnectOptions,
    settings: &ConnectionSettings,
) -> Result<ConnectOptions, BusError> {
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.reveal().to_owned());
    }
    if let Some(path) = &settings.credentials_file {
        let unusable = |error: std::io::Error| BusError::Settings(format!("nats.credentials_file {path}: {error}"));
        let text = tokio::fs::read_to_string(path).await.map_err(unusable)?;
        options = options.credentials(&text).map_err(unusable)?;
    }
    if let Some(path) = &settings.nkey_file {
        let unusable = |reason: String| BusError::Settings(format!("nats.nkey_file {path}: {reason}"));
        let seed = read_private_file(Path::new(path), MAX_SEED_BYTES).map_err(|error| unusable(error.to_string()))?;
        let seed = seed.trim();
        // The client library reports an unusable seed only when it connects, and as a network error.
        let is_user =
            nkeys::KeyPair::from_seed(seed).is_ok_and(|pair| pair.key_pair_type() == nkeys::KeyPairType::User);
        if !is_user {
            return Err(unusable("it holds no seed of a user (SU…)".to_owned()));
        }
        options = options.nkey(seed.to_owned());
    }
    Ok(options)
}

/// Adds the certificates for TLS. The client library reads the files at each connection: a renewed certificate needs no
/// restart.
fn add_certificates(mut options: ConnectOptions, settings: &ConnectionSettings) -> Result<ConnectOptions, BusError> {
    if !settings.uses_tls() {
        return Ok(options);
    }
    settings.tls.read("nats").map_err(BusError::Settings)?;
    if let Some(file) = settings.tls.ca_file() {
        options = options.add_root_certificates(file.into());
    }
    if let Some((certificate, key)) = settings.tls.client_files() {
        options = options.add_client_certificate(certificate.into(), key.into());
    }
    // A cluster advertises addresses, and its certificates hold names.
    Ok(options.require_tls(true).ignore_discovered_servers())
}

fn build_bus(client: Client, denials: Denials, settings: &ConnectionSettings) -> Result<Bus, BusError> {
    let text = client.server_info().version;
    let version = ServerVersion::parse(&text).ok_or_else(|| BusError::ServerTooOld(text.clone()))?;
    if version < ServerVersion::MINIMUM {
        return Err(BusError::ServerTooOld(text));
    }
    if version < ServerVersion::SUPPORTED {
        tracing::warn!(
            version = text,
            "this nats-server is older than 2.10 and cannot sync each append: a power failure loses acknowledged reports"
        );
    }
    let jetstream = ContextBuilder::new()
        .timeout(settings.request_timeout)
        .build(client.clone());
    Ok(Bus {
        client,
        jetstream,
        request_timeout: settings.request_timeout,
        server_version: version,
        denials,
        inbox_prefix: settings.inbox_prefix.as_str().into(),
    })
}

fn log_event(connection: &str, event: &Event) {
    match event {
        Event::Connected => tracing::info!(connection, "connected to NATS"),
        Event::SlowConsumer(subscription) => {
            log_at_intervals!(
                error,
                connection,
                subscription,
                "a subscription's buffer is full: messages were dropped"
            );
        }
        Event::Draining | Event::Closed => tracing::debug!(connection, %event, "NATS connection"),
        _ => tracing::warn!(connection, %event, "NATS connection"),
    }
}

impl Bus {
    /// Reports whether the connection is up, as far as the client library knows.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until the connection is up. Returns false if it is still down after `timeout`.
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

    /// Returns the server's version at the time of the first connection.
    pub fn server_version(&self) -> ServerVersion {
        self.server_version
    }

    /// Returns the time limit of one exchange with the server.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Awaits an exchange unless the server denies a publication to one of its subjects meanwhile.
    ///
    /// # Errors
    /// [`BusError::Denied`], and the exchange's own.
    pub async fn unless_denied<T, E: From<BusError>>(
        &self,
        subjects: AwaitedSubjects<'_>,
        exchange: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut denials = self.denials.watch();
        tokio::select! {
            biased;
            done = exchange => done,
            subject = denials.next(subjects) => Err(BusError::Denied(subject).into()),
        }
    }

    /// Publishes a message without an acknowledgement: market data, alerts that no stream needs to store, replies.
    ///
    /// # Errors
    /// When the message is too large, or the connection has been down for so long that its buffer is full.
    pub async fn publish(&self, subject: String, body: Bytes) -> Result<(), BusError> {
        self.publish_with_headers(subject, HeaderMap::new(), body).await
    }

    /// Publishes a message with headers, as [`Self::publish`] does.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn publish_with_headers(&self, subject: String, headers: HeaderMap, body: Bytes) -> Result<(), BusError> {
        let sent = async {
            if headers.is_empty() {
                self.client.publish(subject, body).await
            } else {
                self.client.publish_with_headers(subject, headers, body).await
            }
        };
        with_timeout(self.request_timeout, "publishing", sent).await
    }

    /// Waits until the server has handled every earlier message from this connection, and every message that the server
    /// sent before has arrived.
    ///
    /// It sends a message to itself: server and client handle each other's messages in order. (The client library's
    /// `flush` waits for the socket only.)
    ///
    /// # Errors
    /// When the message does not return within the time limit of an exchange.
    pub async fn round_trip(&self) -> Result<(), BusError> {
        let echoed = async {
            let fence = subjects::fence(&self.inbox_prefix);
            let mut echo = self
                .client
                .subscribe(fence.clone())
                .await
                .map_err(|error| error.to_string())?;
            let sent = self.client.publish(fence, Bytes::new()).await;
            sent.map_err(|error| error.to_string())?;
            echo.next().await.ok_or_else(|| "the connection was closed".to_owned())
        };
        with_timeout(self.request_timeout, "a round trip", echoed)
            .await
            .map(drop)
    }
}

/// Ends a subscription on the server. Messages in transit are still delivered; all of them have arrived after a
/// [`Bus::round_trip`].
pub async fn unsubscribe_on_server(bus: &Bus, subscription: &mut Subscriber) {
    // A lost connection has no subscriptions on the server.
    let _ = timeout(bus.request_timeout, subscription.unsubscribe_after(UNSUBSCRIBE_AT_ONCE)).await;
}

/// Awaits an exchange with the server for at most `limit`.
pub async fn with_timeout<T, E: std::fmt::Display>(
    limit: Duration,
    operation: &'static str,
    exchange: impl Future<Output = Result<T, E>>,
) -> Result<T, BusError> {
    match timeout(limit, exchange).await {
        Ok(result) => result.map_err(|error| BusError::Refused(format!("{operation}: {error}"))),
        Err(_) => Err(BusError::TimedOut(limit, operation)),
    }
}
