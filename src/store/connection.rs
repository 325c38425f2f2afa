//! The connection to Redis and the epoch of this process: what every store call needs.

pub mod batcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, IntoConnectionInfo, ToRedisArgs, Value};

use crate::config::redis::RedisSettings;
use crate::store::error::StoreError;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::script::{Script, ScriptReply};

/// The epoch of a process that has not checked the store against the journal.
const NO_EPOCH: i64 = 0;

/// One multiplexed connection, the settings and the active epoch. Clones share all three.
#[derive(Clone)]
pub(super) struct StoreConnection {
    redis: ConnectionManager,
    pub(super) settings: Arc<RedisSettings>,
    epoch: Arc<AtomicI64>,
    /// The memory that Redis uses, in bytes, as it was measured last.
    used_memory: Arc<AtomicU64>,
}

/// One call of a script, complete but for its arguments.
pub(super) struct ScriptCall {
    command: redis::Cmd,
    /// The active epoch that the call carries; `None` in a rebuild, which has an epoch of its own.
    active_epoch: Option<i64>,
}

impl ScriptCall {
    /// Appends an argument, or each element of a list as one.
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }
}

impl StoreConnection {
    /// Connects to Redis, without an active epoch.
    ///
    /// # Errors
    /// [`StoreError`] when the URL is not usable or Redis cannot be reached.
    pub(super) async fn connect(settings: &RedisSettings) -> Result<Self, StoreError> {
        let client = open_client(settings)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(settings.connect_timeout_ms)))
            .set_response_timeout(Some(Duration::from_millis(settings.response_timeout_ms)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(settings.connect_timeout_ms));
        Ok(Self {
            redis: ConnectionManager::new_with_config(client, config).await?,
            settings: Arc::new(settings.clone()),
            epoch: Arc::new(AtomicI64::new(NO_EPOCH)),
            used_memory: Arc::default(),
        })
    }

    /// Records the memory that Redis uses, in bytes.
    pub(super) fn set_used_memory(&self, bytes: u64) {
        self.used_memory.store(bytes, Ordering::Relaxed);
    }

    /// Returns the memory that Redis used when it was measured last, and the memory that it may use, in bytes.
    pub(super) fn memory_use(&self) -> (u64, u64) {
        (
            self.used_memory.load(Ordering::Relaxed),
            self.settings.max_memory_bytes(),
        )
    }

    /// Reports whether Redis uses more memory than it may: nothing new is taken.
    pub(super) fn is_full(&self) -> bool {
        let (used, most) = self.memory_use();
        used > most
    }

    /// Returns the active epoch.
    ///
    /// # Errors
    /// [`StoreError::Stale`] while there is none.
    pub(super) fn epoch(&self) -> Result<i64, StoreError> {
        match self.epoch.load(Ordering::Acquire) {
            NO_EPOCH => Err(StoreError::Stale(
                "this process has not checked it against the journal yet".to_owned(),
            )),
            epoch => Ok(epoch),
        }
    }

    /// Activates an epoch for this process.
    pub(super) fn set_epoch(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Clears the epoch of this process: every call fails until the store has been checked again.
    pub(super) fn clear_epoch(&self) {
        self.epoch.store(NO_EPOCH, Ordering::Release);
    }

    /// Sends one command. It carries no epoch, so its reply may come from a store that was emptied or replaced.
    pub(super) async fn query(&self, command: redis::Cmd) -> Result<Value, StoreError> {
        command
            .query_async(&mut self.redis.clone())
            .await
            .map_err(StoreError::from)
    }

    /// Opens a connection that is lost, and never opened again, when its server closes it.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub(super) async fn open_fixed(&self) -> Result<MultiplexedConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(self.settings.connect_timeout_ms)))
            .set_response_timeout(Some(Duration::from_millis(self.settings.response_timeout_ms)));
        let client = open_client(&self.settings)?;
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Prepares a script call: in the rebuild's epoch, or in the active one where `rebuild` is `None`.
    ///
    /// # Errors
    /// [`StoreError::Stale`] where `rebuild` is `None` and no epoch is active.
    pub(super) fn script_call(
        &self,
        script: &Script,
        rebuild: Option<&StoreRebuild>,
        keys: &[String],
    ) -> Result<ScriptCall, StoreError> {
        Ok(match rebuild {
            Some(rebuild) => ScriptCall {
                command: script.evalsha_command(&rebuild.epoch, keys),
                active_epoch: None,
            },
            None => {
                let epoch = self.epoch()?;
                ScriptCall {
                    command: script.evalsha_command(&epoch.to_string(), keys),
                    active_epoch: Some(epoch),
                }
            }
        })
    }

    /// Runs a script call.
    ///
    /// # Errors
    /// Any [`StoreError`]. [`StoreError::Stale`] clears the active epoch, so that every later call fails at once until
    /// the store has been rebuilt.
    pub(super) async fn run(&self, call: ScriptCall) -> Result<ScriptReply, StoreError> {
        self.run_and_decode(call, ScriptReply::from_value).await
    }

    /// As [`StoreConnection::run`], for a script that replies to each command of a batch.
    ///
    /// # Errors
    /// As [`StoreConnection::run`].
    pub(super) async fn run_batch(&self, call: ScriptCall) -> Result<Vec<Result<ScriptReply, StoreError>>, StoreError> {
        self.run_and_decode(call, ScriptReply::from_batch_value).await
    }

    async fn run_and_decode<T>(
        &self,
        call: ScriptCall,
        decode: impl FnOnce(Value) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reply = self.query(call.command).await.and_then(decode);
        if let (Some(epoch), Err(StoreError::Stale(_))) = (call.active_epoch, &reply) {
            // Another task may have activated a newer epoch since: that one stays.
            let _ = self
                .epoch
                .compare_exchange(epoch, NO_EPOCH, Ordering::AcqRel, Ordering::Acquire);
        }
        reply
    }
}

fn open_client(settings: &RedisSettings) -> Result<redis::Client, StoreError> {
    // Nagle's algorithm would delay a call until Redis has replied to the one before it.
    (settings.url.as_str().into_connection_info())
        .map(|server| server.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
        .and_then(redis::Client::open)
        .map_err(|error| StoreError::NotExecuted(format!("redis.url is not usable: {error}")))
}
