//! Reading orders, and finding those that wait for a worker.

use std::time::Duration;

use bytes::Bytes;

use crate::domain::id::{AccountId, BrokerId, LeaseToken};
use crate::domain::order_key::OrderKey;
use crate::domain::venue_report::OutboxEntry;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::{MAX_OPEN_ORDERS, MAX_WAITING_ORDERS};
use crate::store::orders::record::{KnownOrder, decode_known_order, decode_pending_events};
use crate::store::orders::remembered::decode_entry;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::retention::saturating_ms;
use crate::store::script::{READ_MEMBERS, READ_ORDER, READ_WAITING, ScriptReply};

/// Everything the store holds of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOrder {
    /// The order's idempotency key.
    pub key: OrderKey,
    /// Stage, content hash, versions.
    pub known: KnownOrder,
    /// The lease it is claimed under.
    pub lease: Option<LeaseToken>,
    /// Its latest document; empty once the order has ended and is journaled.
    pub document: Bytes,
    /// Its events that are not journaled, in order.
    pub pending_events: Vec<OutboxEntry>,
}

/// A queue of orders that wait for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkQueue {
    /// Claimed orders whose lease has ended.
    ExpiredLeases,
    /// Settled orders with events that are not known to be journaled.
    Outbox,
    /// Orders of a broker with a due effect: paper orders at their next moment, unknown ones at their next inquiry.
    Due(BrokerId),
}

impl Store {
    /// Returns what the store holds of an order.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_order(&self, key: &OrderKey) -> Result<Option<StoredOrder>, StoreError> {
        self.read_order_in_epoch(None, key).await
    }

    /// As [`Store::read_order`], during a rebuild.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_order_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        key: &OrderKey,
    ) -> Result<Option<StoredOrder>, StoreError> {
        self.read_order_in_epoch(Some(rebuild), key).await
    }

    async fn read_order_in_epoch(
        &self,
        rebuild: Option<&StoreRebuild>,
        key: &OrderKey,
    ) -> Result<Option<StoredOrder>, StoreError> {
        let keys = [keys::meta(), keys::order_record(key)];
        let mut call = self.connection.script_call(&READ_ORDER, rebuild, &keys)?;
        call.arg(key.name());
        let mut reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "missing" => Ok(None),
            "remembered" => Ok(Some(StoredOrder {
                key: *key,
                known: decode_entry(*key, &reply.next_bytes()?)?,
                lease: None,
                document: Bytes::new(),
                pending_events: Vec::new(),
            })),
            "found" => decode_stored_order(key, &mut reply).map(Some),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Returns the orders that have waited in a queue for at least `min_wait`, the longest waiting first, at most
    /// [`MAX_WAITING_ORDERS`].
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_waiting_orders(
        &self,
        queue: &WorkQueue,
        min_wait: Duration,
    ) -> Result<Vec<OrderKey>, StoreError> {
        let set = match queue {
            WorkQueue::ExpiredLeases => keys::leases(),
            WorkQueue::Outbox => keys::outbox(),
            WorkQueue::Due(broker) => keys::due_orders(broker),
        };
        let mut call = self.connection.script_call(&READ_WAITING, None, &[keys::meta(), set])?;
        call.arg(saturating_ms(min_wait)).arg(MAX_WAITING_ORDERS);
        decode_order_keys(self.connection.run(call).await?)
    }

    /// Returns the open orders of an account at a broker, at most [`MAX_OPEN_ORDERS`].
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_open_orders(
        &self,
        broker: &BrokerId,
        account_id: &AccountId,
    ) -> Result<Vec<OrderKey>, StoreError> {
        let set = keys::open_orders(broker, account_id);
        decode_order_keys(self.read_members(set, MAX_OPEN_ORDERS).await?)
    }

    /// Returns the brokers and accounts that have open orders, at most [`MAX_OPEN_ORDERS`] pairs.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_open_accounts(&self) -> Result<Vec<(BrokerId, AccountId)>, StoreError> {
        let mut reply = self.read_members(keys::open_order_sets(), MAX_OPEN_ORDERS).await?;
        let mut accounts = Vec::new();
        while reply.has_more() {
            accounts.push(keys::parse_open_orders(&reply.next_text()?)?);
        }
        Ok(accounts)
    }

    async fn read_members(&self, key: String, limit: usize) -> Result<ScriptReply, StoreError> {
        let mut call = self.connection.script_call(&READ_MEMBERS, None, &[keys::meta(), key])?;
        call.arg(limit);
        self.connection.run(call).await
    }
}

fn decode_stored_order(key: &OrderKey, reply: &mut ScriptReply) -> Result<StoredOrder, StoreError> {
    let known = decode_known_order(reply)?;
    let lease = Some(reply.next_text()?).filter(|token| !token.is_empty());
    Ok(StoredOrder {
        key: *key,
        known,
        lease: lease.map(|token| LeaseToken(token.into())),
        document: Bytes::from(reply.next_bytes()?),
        pending_events: decode_pending_events(reply)?,
    })
}

fn decode_order_keys(mut reply: ScriptReply) -> Result<Vec<OrderKey>, StoreError> {
    let mut keys = Vec::new();
    while reply.has_more() {
        let name = reply.next_text()?;
        let key = OrderKey::parse(&name);
        keys.push(key.ok_or_else(|| StoreError::corrupt(format!("{name:?} is not the name of an order")))?);
    }
    Ok(keys)
}
