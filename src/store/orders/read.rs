//! Reading what is known of orders, and which of them wait for somebody.

use std::time::Duration;

use bytes::Bytes;

use crate::domain::id::{AccountId, BrokerId, LeaseToken, OrderId};
use crate::domain::venue_report::OutboxEntry;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::orders::reserve::{KnownOrder, decode_known_order};
use crate::store::orders::settle::decode_pending_events;
use crate::store::script::{READ_MEMBERS, READ_ORDER, READ_WAITING, ScriptReply, corrupt};

/// The most names one look returns.
pub const MAX_WAITING_ORDERS: usize = 256;
/// The most open orders one account can have at a broker before a cancel of all of them works through the rest in
/// further calls.
pub const MAX_OPEN_ORDERS: usize = 10_000;

/// Everything the store knows of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOrder {
    /// The order's id.
    pub key: OrderKey,
    /// Stage, content, versions.
    pub known: KnownOrder,
    /// The lease it is claimed under.
    pub lease: Option<LeaseToken>,
    /// Its latest document; empty once it has ended and is journaled.
    pub document: Bytes,
    /// Its events that are not on the journal, in order.
    pub pending_events: Vec<OutboxEntry>,
}

/// What orders can wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkQueue {
    /// Claimed, and their lease has ended.
    ExpiredLeases,
    /// Settled, and not known to be on the journal.
    Outbox,
    /// Paper orders of a broker whose moment has come.
    Due(BrokerId),
}

impl Store {
    /// Returns what is known of an order.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_order(&self, key: &OrderKey) -> Result<Option<StoredOrder>, StoreError> {
        let epoch = self.connection.epoch()?;
        let reply = self
            .connection
            .clear_epoch_if_stale(epoch, self.read_order_in_epoch(epoch.to_string(), key).await)?;
        Ok(reply)
    }

    pub(in crate::store) async fn read_order_in_epoch(
        &self,
        epoch: String,
        key: &OrderKey,
    ) -> Result<Option<StoredOrder>, StoreError> {
        let command = READ_ORDER.evalsha_command(epoch, &[keys::meta(), key.record_key()]);
        let mut reply = self.connection.query(command).await.and_then(ScriptReply::from_value)?;
        match reply.verdict.as_str() {
            "missing" => Ok(None),
            "found" => {
                let known = decode_known_order(&mut reply)?;
                let lease = Some(reply.next_text()?)
                    .filter(|token| !token.is_empty())
                    .map(|token| LeaseToken(token.into()));
                let document = Bytes::from(reply.next_bytes()?);
                Ok(Some(StoredOrder {
                    key: key.clone(),
                    known,
                    lease,
                    document,
                    pending_events: decode_pending_events(&mut reply)?,
                }))
            }
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Returns the key of an order by its router id.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn find_order_key(&self, order_id: &OrderId) -> Result<Option<OrderKey>, StoreError> {
        Ok(self
            .list_order_keys(keys::order_index(order_id), "index", 1)
            .await?
            .pop())
    }

    /// Returns orders that have waited for longer than `past`, the longest waiting first, at most [`MAX_NAMES`].
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_waiting_orders(
        &self,
        queue: &WorkQueue,
        min_wait: Duration,
    ) -> Result<Vec<OrderKey>, StoreError> {
        let epoch = self.connection.epoch()?;
        let set = match queue {
            WorkQueue::ExpiredLeases => keys::leases(),
            WorkQueue::Outbox => keys::outbox(),
            WorkQueue::Due(broker) => keys::due_orders(broker),
        };
        let mut command = READ_WAITING.evalsha_command(epoch, &[keys::meta(), set]);
        let past = u64::try_from(min_wait.as_millis()).unwrap_or(u64::MAX);
        command.arg(past).arg(MAX_WAITING_ORDERS);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        decode_order_keys(self.connection.clear_epoch_if_stale(epoch, reply)?)
    }

    /// Returns the orders of an account at a broker that have not ended, at most [`MAX_OPEN_ORDERS`].
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_open_orders(
        &self,
        broker: &BrokerId,
        account_id: &AccountId,
    ) -> Result<Vec<OrderKey>, StoreError> {
        self.list_order_keys(keys::open_orders(broker, account_id), "open", MAX_OPEN_ORDERS)
            .await
    }

    /// Returns whose orders are open: the brokers and accounts that have any, at most [`MAX_OPEN_ORDERS`] pairs.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_open_accounts(&self) -> Result<Vec<(BrokerId, AccountId)>, StoreError> {
        let mut reply = self
            .read_members(keys::open_order_sets(), "open", MAX_OPEN_ORDERS)
            .await?;
        let mut accounts = Vec::new();
        while reply.has_more() {
            let key = reply.next_text()?;
            accounts
                .push(keys::parse_open_orders(&key).ok_or_else(|| corrupt("the set of open sets holds no such key"))?);
        }
        Ok(accounts)
    }

    async fn list_order_keys(&self, key: String, key_kind: &str, limit: usize) -> Result<Vec<OrderKey>, StoreError> {
        decode_order_keys(self.read_members(key, key_kind, limit).await?)
    }

    async fn read_members(&self, key: String, key_kind: &str, limit: usize) -> Result<ScriptReply, StoreError> {
        let epoch = self.connection.epoch()?;
        let mut command = READ_MEMBERS.evalsha_command(epoch, &[keys::meta(), key]);
        command.arg(key_kind).arg(limit);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        self.connection.clear_epoch_if_stale(epoch, reply)
    }
}

fn decode_order_keys(mut reply: ScriptReply) -> Result<Vec<OrderKey>, StoreError> {
    let mut names = Vec::new();
    while reply.has_more() {
        let name = reply.next_text()?;
        names.push(OrderKey::parse(&name).ok_or_else(|| corrupt("a set holds no order name"))?);
    }
    Ok(names)
}
