//! The Sentinels: which Redis they name as the primary.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ErrorKind, RedisError, RedisResult};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::redis::RedisSettings;
use crate::config::tls::TlsFiles;
use crate::store::connection::endpoint::{address_like, connection_config, open_client, parse_server, unusable};
use crate::store::error::StoreError;

/// How much longer the other Sentinels are awaited once one has replied: the one with the newest configuration counts.
const OTHERS_WAIT: Duration = Duration::from_millis(100);
/// What an address with TLS begins with.
const TLS_SCHEME: &str = "rediss://";

/// Where the primary is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PrimaryAddress {
    host: String,
    port: u16,
}

impl fmt::Display for PrimaryAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl PrimaryAddress {
    /// Returns the address for a connection with the transport of `like`.
    pub(super) fn connection_address(&self, like: &ConnectionAddr) -> ConnectionAddr {
        address_like(like, self.host.clone(), self.port)
    }
}

/// The Sentinels of the settings, each with a connection that is kept.
pub(super) struct Sentinels {
    service: String,
    all: Vec<Sentinel>,
    /// The time limit of a question to all of them.
    time_limit: Duration,
}

struct Sentinel {
    client: redis::Client,
    config: AsyncConnectionConfig,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What one Sentinel names.
#[derive(Debug)]
struct NamedPrimary {
    address: PrimaryAddress,
    /// The number of its configuration: each failover has a higher one.
    configuration: u64,
}

impl Sentinels {
    /// Returns the Sentinels of the settings.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when an address is not usable.
    pub(super) fn of(settings: &RedisSettings, files: &TlsFiles) -> Result<Self, StoreError> {
        const NAME: &str = "redis.sentinels";
        let mut all = Vec::with_capacity(settings.sentinels.len());
        for address in &settings.sentinels {
            let files = address.starts_with(TLS_SCHEME).then_some(files);
            let client = open_client(parse_server(address, NAME)?, files);
            all.push(Sentinel {
                client: client.map_err(|error| unusable(NAME, &error))?,
                config: connection_config(settings),
                connection: Mutex::new(None),
            });
        }
        Ok(Self {
            service: settings.sentinel_service.clone(),
            all,
            time_limit: Duration::from_millis(settings.connect_timeout_ms),
        })
    }

    /// Returns the primary. All Sentinels are asked at once; of those that reply, the one with the newest configuration
    /// counts, since one that was cut off still has the one of before.
    ///
    /// # Errors
    /// When none of them names a primary in time; the text holds why one of them does not.
    pub(super) async fn find_primary(&self) -> RedisResult<PrimaryAddress> {
        let mut asked: FuturesUnordered<_> = self
            .all
            .iter()
            .map(|one| one.ask(&self.service, self.time_limit))
            .collect();
        let mut end = Instant::now() + self.time_limit;
        let mut newest: Option<NamedPrimary> = None;
        let mut failure = None;
        while let Ok(Some(reply)) = timeout_at(end, asked.next()).await {
            match reply {
                Ok(named) => {
                    end = end.min(Instant::now() + OTHERS_WAIT);
                    if newest
                        .as_ref()
                        .is_none_or(|known| named.configuration > known.configuration)
                    {
                        newest = Some(named);
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        newest.map(|named| named.address).ok_or_else(|| {
            let why = failure.map_or_else(|| "none replied in time".to_owned(), |error| error.to_string());
            let detail = format!(
                "no Sentinel of redis.sentinels names the primary of {}: {why}",
                self.service
            );
            RedisError::from((ErrorKind::Io, "no primary", detail))
        })
    }
}

impl Sentinel {
    /// Asks for the primary of a service.
    async fn ask(&self, service: &str, time_limit: Duration) -> RedisResult<NamedPrimary> {
        let mut kept = self.connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect(time_limit).await?,
        };
        let named = query_primary(&mut connection, service).await;
        // One that failed, or is no longer awaited, is not used again.
        if named.is_ok() {
            *kept = Some(connection);
        }
        named
    }

    async fn connect(&self, time_limit: Duration) -> RedisResult<MultiplexedConnection> {
        let connected = self.client.get_multiplexed_async_connection_with_config(&self.config);
        match timeout(time_limit, connected).await {
            Ok(connected) => connected,
            Err(_) => Err(RedisError::from((ErrorKind::Io, "a Sentinel did not reply in time"))),
        }
    }
}

async fn query_primary(connection: &mut MultiplexedConnection, service: &str) -> RedisResult<NamedPrimary> {
    // During a failover `SENTINEL MASTER` still has the address of the primary before, and the number of the configuration
    // to come; the first command has the address that belongs to it.
    let mut questions = redis::pipe();
    questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    questions.cmd("SENTINEL").arg("MASTER").arg(service);
    let replies: (Option<(String, u16)>, HashMap<String, String>) = questions.query_async(connection).await?;
    let (address, fields) = replies;
    let configuration = fields.get("config-epoch").and_then(|number| number.parse().ok());
    match (address, configuration) {
        (Some((host, port)), Some(configuration)) => Ok(NamedPrimary {
            address: PrimaryAddress { host, port },
            configuration,
        }),
        _ => {
            let detail = format!("a Sentinel knows no primary of {service}");
            Err(RedisError::from((ErrorKind::Io, "no primary", detail)))
        }
    }
}
