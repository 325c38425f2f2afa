//! The connection to Redis and the epoch of this process: what every store call needs.

pub mod batcher;
mod call_pace;
mod endpoint;
mod primary;
mod route;
mod sentinels;
mod server_info;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{ToRedisArgs, Value};

use crate::config::redis::RedisSettings;
use crate::config::tls::describe_tls_failure;
use crate::store::connection::primary::PrimaryConnection;
use crate::store::connection::route::PrimaryRoute;
use crate::store::error::StoreError;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::script::{BatchReplies, Script, ScriptReply, decode_value};

/// The epoch of a process that has not checked the store against the journal.
const NO_EPOCH: i64 = 0;

/// One multiplexed connection to the primary, the settings and the active epoch. Clones share all three.
#[derive(Clone)]
pub(super) struct StoreConnection {
    primary: PrimaryConnection,
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
    /// [`StoreError::Settings`] when the URL or a file of `redis.tls` is not usable, or Redis' certificate is not trusted;
    /// another [`StoreError`] when Redis cannot be reached.
    pub(super) async fn connect(settings: &RedisSettings) -> Result<Self, StoreError> {
        let route = PrimaryRoute::of(settings)?;
        let primary = PrimaryConnection::connect(route).await;
        Ok(Self {
            primary: primary.map_err(|error| describe_connect_failure(settings, error))?,
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
        let replies = self
            .primary
            .send(async |connection| command.query_async(connection).await);
        replies.await.map_err(StoreError::from)
    }

    /// Sends several commands at once, and returns the reply to each. They carry no epoch; those of an atomic pipeline are
    /// executed together.
    pub(super) async fn query_pipeline(&self, commands: &redis::Pipeline) -> Result<Vec<Value>, StoreError> {
        let replies = self
            .primary
            .send(async |connection| commands.query_async(connection).await);
        replies.await.map_err(StoreError::from)
    }

    /// Returns what a large key holds, read in pages of about `page` by `SSCAN`, `ZSCAN` or `HSCAN`: its members, with a score
    /// behind each, or its fields and values. What is there during the whole scan is listed, and may be twice.
    ///
    /// # Errors
    /// When Redis does not reply, or the key is of another type.
    pub(super) async fn scan_key(
        &self,
        command: &'static str,
        key: &str,
        page: usize,
    ) -> Result<Vec<String>, StoreError> {
        let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let mut scan = redis::cmd(command);
            scan.arg(key).arg(&cursor).arg("COUNT").arg(page);
            let (next, listed): (String, Vec<String>) = decode_value(self.query(scan).await?)?;
            found.extend(listed);
            cursor = next;
            if cursor == "0" {
                return Ok(found);
            }
        }
    }

    /// Opens a connection to the primary that is lost, and never opened again, when its server closes it.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub(super) async fn open_fixed(&self) -> Result<MultiplexedConnection, StoreError> {
        Ok(self.primary.open_another().await?)
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

    /// As [`StoreConnection::run`], for a script that replies to each command of a batch, and with how long it
    /// ran.
    ///
    /// # Errors
    /// As [`StoreConnection::run`].
    pub(super) async fn run_batch(&self, call: ScriptCall) -> Result<BatchReplies<ScriptReply>, StoreError> {
        self.run_and_decode(call, ScriptReply::from_batch_value).await
    }

    /// Runs a script call and, in one transaction with it, the commands that `add_reads` adds. Returns its reply, and the reply
    /// to each command. Redis replies to a command itself sooner than a script that reads as much, which is given every value
    /// as one of Lua's and may pass on some thousands at most.
    ///
    /// # Errors
    /// As [`StoreConnection::run`].
    pub(super) async fn run_with_reads(
        &self,
        call: ScriptCall,
        add_reads: impl FnOnce(&mut redis::Pipeline),
    ) -> Result<(ScriptReply, Vec<Value>), StoreError> {
        let mut commands = redis::pipe();
        commands.atomic().add_command(call.command);
        add_reads(&mut commands);
        let replies = self.query_pipeline(&commands).await.and_then(|mut replies| {
            if replies.is_empty() {
                return Err(StoreError::corrupt("a transaction has no reply"));
            }
            let of_script = ScriptReply::from_value(replies.remove(0))?;
            Ok((of_script, replies))
        });
        self.clear_stale_epoch(call.active_epoch, &replies);
        replies
    }

    async fn run_and_decode<T>(
        &self,
        call: ScriptCall,
        decode: impl FnOnce(Value) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reply = self.query(call.command).await.and_then(decode);
        self.clear_stale_epoch(call.active_epoch, &reply);
        reply
    }

    /// Clears the active epoch that a call carried where the store is found stale.
    fn clear_stale_epoch<T>(&self, active_epoch: Option<i64>, reply: &Result<T, StoreError>) {
        if let (Some(epoch), Err(StoreError::Stale(_))) = (active_epoch, reply) {
            // Another task may have activated a newer epoch since: that one stays.
            let _ = self
                .epoch
                .compare_exchange(epoch, NO_EPOCH, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

fn describe_connect_failure(settings: &RedisSettings, error: redis::RedisError) -> StoreError {
    if let Some(failure) = describe_tls_failure("redis", &error) {
        return StoreError::Settings(failure);
    }
    // A server may close the connection before its alert arrives.
    if settings.uses_tls() && settings.tls.client_files().is_none() && error.is_connection_dropped() {
        let hint = "if Redis asks for client certificates, set redis.tls.cert_file and redis.tls.key_file";
        return StoreError::NotExecuted(format!("Redis closed the TLS connection ({error}): {hint}"));
    }
    // A server without TLS waits for the end of a command that never comes.
    if settings.uses_tls() && error.is_timeout() {
        return StoreError::NotExecuted(format!(
            "the TLS handshake with Redis did not end ({error}): does it serve TLS at the address in redis.url?"
        ));
    }
    error.into()
}
