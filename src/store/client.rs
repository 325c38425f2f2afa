//! The handle through which workers use the store. Each operation is an `impl Store` in the file of its subject.

use std::sync::Arc;

use crate::config::redis::RedisSettings;
use crate::domain::time::Timestamp;
use crate::store::connection::StoreConnection;
use crate::store::connection::batcher::ScriptBatcher;
use crate::store::error::StoreError;
use crate::store::limits::{CHEAP_CALLS_PER_ORDER, MAX_LEDGERS_PER_READ};
use crate::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest, run_mark_journaled_batch};
use crate::store::orders::reserve::{ReserveOutcome, ReserveRequest};
use crate::store::orders::reserve_batch::run_reserve_batch;
use crate::store::orders::settle::{SettleOutcome, SettleRequest, run_settle_batch};
use crate::store::sums::ledgers::{Ledger, LedgerOwner, run_ledger_batch};

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;

/// The live state that all workers share. Clones share the connection and the batches.
#[derive(Clone)]
pub struct Store {
    pub(super) connection: StoreConnection,
    reserve_batcher: ScriptBatcher<Arc<ReserveRequest>, ReserveOutcome>,
    settle_batcher: ScriptBatcher<Arc<SettleRequest>, SettleOutcome>,
    journaled_batcher: ScriptBatcher<MarkJournaledRequest, MarkJournaledOutcome>,
    ledger_batcher: ScriptBatcher<LedgerOwner, Ledger>,
}

impl Store {
    /// Connects to Redis. The store refuses every call until [`Store::join_epoch`] or a rebuild activates an epoch.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, StoreError> {
        let connection = StoreConnection::connect(settings).await?;
        let (queue, batch) = (settings.queue_max, settings.batch_max);
        let cheap_batch = batch * CHEAP_CALLS_PER_ORDER;
        let (for_reserve, for_settle, for_journaled) = (connection.clone(), connection.clone(), connection.clone());
        let for_ledgers = connection.clone();
        Ok(Self {
            reserve_batcher: ScriptBatcher::spawn(queue, batch, move |requests| {
                run_reserve_batch(for_reserve.clone(), requests)
            }),
            settle_batcher: ScriptBatcher::spawn(queue, batch, move |requests| {
                run_settle_batch(for_settle.clone(), requests)
            }),
            journaled_batcher: ScriptBatcher::spawn(queue, cheap_batch, move |requests| {
                run_mark_journaled_batch(for_journaled.clone(), requests)
            }),
            ledger_batcher: ScriptBatcher::spawn(queue, cheap_batch.min(MAX_LEDGERS_PER_READ), move |owners| {
                run_ledger_batch(for_ledgers.clone(), owners)
            }),
            connection,
        })
    }

    /// Returns what is known of an id; claims, evaluates or denies an unknown one, as the request says. A caller that may
    /// have to send the request again passes an [`Arc`] of it.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] the order may be claimed, until its lease ends.
    pub async fn reserve(&self, request: impl Into<Arc<ReserveRequest>>) -> Result<ReserveOutcome, StoreError> {
        self.reserve_batcher.call(request.into()).await
    }

    /// Books one effect of an order. A caller that may have to send the request again passes an [`Arc`] of it.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] the effect may be booked, and the same request may be sent
    /// again.
    pub async fn settle(&self, request: impl Into<Arc<SettleRequest>>) -> Result<SettleOutcome, StoreError> {
        self.settle_batcher.call(request.into()).await
    }

    /// Marks an event as journaled; returns whether the store knows it.
    ///
    /// # Errors
    /// Any [`StoreError`]; the event then stays in the outbox until a later call marks it.
    pub async fn mark_journaled(&self, request: MarkJournaledRequest) -> Result<MarkJournaledOutcome, StoreError> {
        self.journaled_batcher.call(request).await
    }

    /// Returns a ledger. Calls that wait together share one script call.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_ledger(&self, owner: LedgerOwner) -> Result<Ledger, StoreError> {
        self.ledger_batcher.call(owner).await
    }

    /// Returns the queue of each batched script: its name, how many calls wait in it, and how many may.
    pub fn queue_levels(&self) -> [(&'static str, (usize, usize)); 4] {
        [
            ("reserve", self.reserve_batcher.queue_level()),
            ("settle", self.settle_batcher.queue_level()),
            ("journaled", self.journaled_batcher.queue_level()),
            ("ledgers", self.ledger_batcher.queue_level()),
        ]
    }

    /// Returns the active epoch, or `None` while this process has not checked the store against the journal.
    pub fn epoch(&self) -> Option<i64> {
        self.connection.epoch().ok()
    }

    /// Activates the epoch of a complete store for this process.
    pub fn join_epoch(&self, epoch: i64) {
        self.connection.set_epoch(epoch);
    }

    /// Clears the epoch of this process: every call fails until the store has been checked again.
    pub fn leave_epoch(&self) {
        self.connection.clear_epoch();
    }

    /// Returns Redis' clock.
    ///
    /// # Errors
    /// When Redis does not reply.
    pub async fn read_clock(&self) -> Result<Timestamp, StoreError> {
        let reply = self.connection.query(redis::cmd("TIME")).await?;
        let (seconds, microseconds): (i64, i64) = redis::from_redis_value(reply)
            .map_err(|error| StoreError::corrupt(format!("the reply to TIME is not a time: {error}")))?;
        Ok(Timestamp::from_microseconds(
            seconds * MICROSECONDS_PER_SECOND + microseconds,
        ))
    }

    /// Checks that Redis replies.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.connection.query(redis::cmd("PING")).await.map(drop)
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
