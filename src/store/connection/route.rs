//! How to get to the primary: by its URL, or by asking the Sentinels.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionInfo, ErrorKind, RedisError, RedisResult};

use crate::config::redis::RedisSettings;
use crate::config::tls::TlsFiles;
use crate::store::connection::endpoint::{connection_config, open_client, parse_server, unusable};
use crate::store::connection::sentinels::Sentinels;
use crate::store::error::StoreError;

/// The primary, connected to.
#[derive(Clone)]
pub(super) struct PrimaryServer {
    /// Its address as the Sentinels name it; empty without Sentinels.
    pub(super) address: String,
    /// The connection.
    pub(super) connection: MultiplexedConnection,
}

/// How to get to the primary.
pub(super) struct PrimaryRoute {
    /// The server of `redis.url`; with Sentinels, the address in it is replaced by what they name.
    server: ConnectionInfo,
    certificates: Option<TlsFiles>,
    sentinels: Option<Sentinels>,
    config: AsyncConnectionConfig,
}

impl PrimaryRoute {
    /// Returns the route of the settings.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when an address or a file of `redis.tls` is not usable.
    pub(super) fn of(settings: &RedisSettings) -> Result<Self, StoreError> {
        let files = settings.tls.read("redis").map_err(StoreError::Settings)?;
        let config = connection_config(settings);
        let sentinels = match settings.uses_sentinels() {
            true => Some(Sentinels::of(settings, &files)?),
            false => None,
        };
        let server = parse_server(&settings.url, "redis.url")?;
        let certificates = settings.uses_tls().then_some(files);
        // An address that cannot be used is an error of the settings, and not of the first attempt to connect.
        open_client(server.clone(), certificates.as_ref()).map_err(|error| unusable("redis.url", &error))?;
        Ok(Self {
            server,
            certificates,
            sentinels,
            config,
        })
    }

    /// Reports whether the Sentinels name the primary.
    pub(super) fn has_sentinels(&self) -> bool {
        self.sentinels.is_some()
    }

    /// Returns the address of the primary as the Sentinels name it; an empty one without Sentinels.
    ///
    /// # Errors
    /// When no Sentinel names one in time.
    pub(super) async fn find_primary(&self) -> RedisResult<String> {
        match &self.sentinels {
            Some(sentinels) => Ok(sentinels.find_primary().await?.to_string()),
            None => Ok(String::new()),
        }
    }

    /// Connects to the primary.
    ///
    /// # Errors
    /// When it cannot be found or reached in time, or what the Sentinels name is a replica.
    pub(super) async fn open(&self) -> RedisResult<PrimaryServer> {
        let Some(sentinels) = &self.sentinels else {
            let connection = self.connect_to(self.server.clone()).await?;
            return Ok(PrimaryServer {
                address: String::new(),
                connection,
            });
        };
        let found = sentinels.find_primary().await?;
        let server = self
            .server
            .clone()
            .set_addr(found.connection_address(self.server.addr()));
        let mut connection = self.connect_to(server).await?;
        // A Sentinel that was away names the primary of before, which may be a replica by now.
        let role: redis::Value = redis::cmd("ROLE").query_async(&mut connection).await?;
        if !is_primary(&role) {
            let detail = format!("Redis at {found} is a replica, and the Sentinels name it as the primary");
            return Err(RedisError::from((ErrorKind::Io, "no primary", detail)));
        }
        tracing::info!(address = %found, "connected to the primary that the Sentinels name");
        Ok(PrimaryServer {
            address: found.to_string(),
            connection,
        })
    }

    async fn connect_to(&self, server: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
        open_client(server, self.certificates.as_ref())?
            .get_multiplexed_async_connection_with_config(&self.config)
            .await
    }
}

/// Reports whether the reply to `ROLE` is that of a primary.
fn is_primary(reply: &redis::Value) -> bool {
    let redis::Value::Array(fields) = reply else {
        return false;
    };
    match fields.first() {
        Some(redis::Value::BulkString(role)) => role == b"master",
        Some(redis::Value::SimpleString(role)) => role == "master",
        _ => false,
    }
}
