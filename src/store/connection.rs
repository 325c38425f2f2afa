//! The handle on the shared state: one multiplexed connection, and the batches in front of it.

pub mod batcher;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{IntoConnectionInfo, Value};

use crate::config::redis::RedisSettings;
use crate::store::connection::batcher::ScriptBatcher;
use crate::store::error::StoreError;
use crate::store::orders::mark_journaled;
use crate::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use crate::store::orders::reserve;
use crate::store::orders::reserve::{ReserveOutcome, ReserveRequest};
use crate::store::orders::settle;
use crate::store::orders::settle::{SettleOutcome, SettleRequest};

/// The epoch of a store that this worker does not know to be whole.
const NO_EPOCH: i64 = 0;

/// The shared state. Clones share the connection and the batches.
#[derive(Clone)]
pub struct Store {
    pub(super) connection: StoreConnection,
    reserve_batcher: ScriptBatcher<ReserveRequest, ReserveOutcome>,
    settle_batcher: ScriptBatcher<Arc<SettleRequest>, SettleOutcome>,
    journaled_batcher: ScriptBatcher<MarkJournaledRequest, MarkJournaledOutcome>,
}

/// What every call needs: the connection, the settings and the epoch.
#[derive(Clone)]
pub(super) struct StoreConnection {
    redis: ConnectionManager,
    pub(super) settings: Arc<RedisSettings>,
    epoch: Arc<AtomicI64>,
}

impl Store {
    /// Connects to Redis. The store refuses every call until [`Store::join`] or a healing gives it an epoch.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, StoreError> {
        // Nagle's algorithm would hold a call back until Redis has answered the one before it.
        let client = (settings.url.as_str().into_connection_info())
            .map(|server| server.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
            .and_then(redis::Client::open)
            .map_err(|error| StoreError::NotExecuted(format!("redis.url cannot be used: {error}")))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(settings.connect_timeout_ms)))
            .set_response_timeout(Some(Duration::from_millis(settings.response_timeout_ms)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(settings.connect_timeout_ms));
        let connection = ConnectionManager::new_with_config(client, config).await?;
        let core = StoreConnection {
            redis: connection,
            settings: Arc::new(settings.clone()),
            epoch: Arc::new(AtomicI64::new(NO_EPOCH)),
        };
        let (queue, batch) = (settings.queue_max, settings.batch_max);
        let (for_reserve, for_settle, for_journaled) = (core.clone(), core.clone(), core.clone());
        Ok(Self {
            reserve_batcher: ScriptBatcher::spawn(queue, batch, move |batch| {
                reserve::run_reserve_batch(for_reserve.clone(), batch)
            }),
            settle_batcher: ScriptBatcher::spawn(queue, batch, move |batch| {
                settle::run_settle_batch(for_settle.clone(), batch)
            }),
            journaled_batcher: ScriptBatcher::spawn(queue, batch, move |batch| {
                mark_journaled::run_mark_journaled_batch(for_journaled.clone(), batch)
            }),
            connection: core,
        })
    }

    /// Answers a known id, or claims, looks or denies, as the command says.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::Unknown`] the order may be claimed, until its lease ends.
    pub async fn reserve(&self, command: ReserveRequest) -> Result<ReserveOutcome, StoreError> {
        self.reserve_batcher.call(command).await
    }

    /// Books one effect of an order; whoever may send it again keeps it and hands in an [`Arc`].
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::Unknown`] it may be booked: the same command may be sent again.
    pub async fn settle(&self, command: impl Into<Arc<SettleRequest>>) -> Result<SettleOutcome, StoreError> {
        self.settle_batcher.call(command.into()).await
    }

    /// Marks an event as being on the journal; tells whether the store knows of it.
    ///
    /// # Errors
    /// Any [`StoreError`]; the event then stays in the outbox until somebody marks it.
    pub async fn mark_journaled(&self, command: MarkJournaledRequest) -> Result<MarkJournaledOutcome, StoreError> {
        self.journaled_batcher.call(command).await
    }

    /// Returns how many calls wait, and how many may, in front of each script that takes many at once.
    pub fn queue_levels(&self) -> [(&'static str, (usize, usize)); 3] {
        [
            ("reserve", self.reserve_batcher.queue_level()),
            ("settle", self.settle_batcher.queue_level()),
            ("journaled", self.journaled_batcher.queue_level()),
        ]
    }

    /// Returns the epoch in force, or `None` while the store is not known to be whole.
    pub fn epoch(&self) -> Option<i64> {
        self.connection.epoch().ok()
    }

    /// Takes the epoch out of force for this process: every call fails until the store has been checked again.
    pub fn leave_epoch(&self) {
        self.connection.set_epoch(NO_EPOCH);
    }

    /// Answers whether Redis answers at all.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.connection.query(redis::cmd("PING")).await.map(|_| ())
    }
}

impl StoreConnection {
    /// Returns the epoch in force.
    pub(super) fn epoch(&self) -> Result<i64, StoreError> {
        match self.epoch.load(Ordering::Acquire) {
            NO_EPOCH => Err(StoreError::Stale(
                "it has not been checked against the journal yet".to_owned(),
            )),
            epoch => Ok(epoch),
        }
    }

    /// Puts an epoch in force for this process.
    pub(super) fn set_epoch(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Runs a command of the epoch in force. A stale answer takes the epoch out of force, so that every later call
    /// fails at once until the store has been healed.
    pub(super) async fn query(&self, command: redis::Cmd) -> Result<Value, StoreError> {
        command
            .query_async(&mut self.redis.clone())
            .await
            .map_err(StoreError::from)
    }

    /// Takes the epoch out of force when an answer shows that the store is another one.
    pub(super) fn clear_epoch_if_stale<T>(&self, epoch: i64, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(result, Err(StoreError::Stale(_))) {
            let _ = self
                .epoch
                .compare_exchange(epoch, NO_EPOCH, Ordering::AcqRel, Ordering::Acquire);
        }
        result
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
