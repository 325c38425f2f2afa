//! Reading what is known of orders, and which of them wait for somebody.

use std::time::Duration;

use bytes::Bytes;

use super::connection::Store;
use super::error::StoreError;
use super::keys::{self, OrderKey};
use super::reserve::{KnownOrder, decode_known};
use super::script::{NAMES, READ, READY, Reply, corrupt};
use super::settle::decode_pending;
use crate::domain::execution::PendingEvent;
use crate::domain::id::{AccountId, BrokerId, LeaseToken, OrderId};

/// The most names one look returns.
pub const MAX_NAMES: usize = 256;
/// The most open orders one account can have at a broker before a cancel of all of them works through the rest in
/// further calls.
pub const MAX_OPEN_ORDERS: usize = 10_000;

/// Everything the store knows of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The order's id.
    pub key: OrderKey,
    /// Stage, content, versions.
    pub known: KnownOrder,
    /// The lease it is claimed under.
    pub lease: Option<LeaseToken>,
    /// Its latest document; empty once it has ended and is journaled.
    pub document: Bytes,
    /// Its events that are not on the journal, in order.
    pub pending: Vec<PendingEvent>,
}

/// What orders can wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Claimed, and their lease has ended.
    ExpiredLease,
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
    pub async fn read(&self, key: &OrderKey) -> Result<Option<Record>, StoreError> {
        let epoch = self.core.epoch()?;
        let reply = self.core.noting(epoch, self.read_in(epoch.to_string(), key).await)?;
        Ok(reply)
    }

    pub(super) async fn read_in(&self, epoch: String, key: &OrderKey) -> Result<Option<Record>, StoreError> {
        let command = READ.call(epoch, &[keys::meta(), key.record()]);
        let mut reply = self.core.query(command).await.and_then(Reply::of)?;
        match reply.verdict.as_str() {
            "missing" => Ok(None),
            "found" => {
                let known = decode_known(&mut reply)?;
                let lease = Some(reply.text()?)
                    .filter(|token| !token.is_empty())
                    .map(|token| LeaseToken(token.into()));
                let document = Bytes::from(reply.bytes()?);
                Ok(Some(Record {
                    key: key.clone(),
                    known,
                    lease,
                    document,
                    pending: decode_pending(&mut reply)?,
                }))
            }
            _ => Err(reply.unexpected()),
        }
    }

    /// Returns the key of an order by its router id.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn find(&self, order_id: &OrderId) -> Result<Option<OrderKey>, StoreError> {
        Ok(self.names(keys::index(order_id), "index", 1).await?.pop())
    }

    /// Returns orders that have waited for longer than `past`, the longest waiting first, at most [`MAX_NAMES`].
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn waiting(&self, what: &Waiting, past: Duration) -> Result<Vec<OrderKey>, StoreError> {
        let epoch = self.core.epoch()?;
        let set = match what {
            Waiting::ExpiredLease => keys::leases(),
            Waiting::Outbox => keys::outbox(),
            Waiting::Due(broker) => keys::due(broker),
        };
        let mut command = READY.call(epoch, &[keys::meta(), set]);
        let past = u64::try_from(past.as_millis()).unwrap_or(u64::MAX);
        command.arg(past).arg(MAX_NAMES);
        let reply = self.core.query(command).await.and_then(Reply::of);
        read_names(self.core.noting(epoch, reply)?)
    }

    /// Returns the orders of an account at a broker that have not ended, at most [`MAX_OPEN_ORDERS`].
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn open_orders(&self, broker: &BrokerId, account_id: &AccountId) -> Result<Vec<OrderKey>, StoreError> {
        self.names(keys::open(broker, account_id), "open", MAX_OPEN_ORDERS)
            .await
    }

    /// Returns whose orders are open: the brokers and accounts that have any, at most [`MAX_OPEN_ORDERS`] pairs.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn open_accounts(&self) -> Result<Vec<(BrokerId, AccountId)>, StoreError> {
        let mut reply = self.members(keys::open_sets(), "open", MAX_OPEN_ORDERS).await?;
        let mut accounts = Vec::new();
        while reply.has_more() {
            let key = reply.text()?;
            accounts.push(keys::parse_open(&key).ok_or_else(|| corrupt("the set of open sets holds no such key"))?);
        }
        Ok(accounts)
    }

    async fn names(&self, key: String, kind: &str, most: usize) -> Result<Vec<OrderKey>, StoreError> {
        read_names(self.members(key, kind, most).await?)
    }

    async fn members(&self, key: String, kind: &str, most: usize) -> Result<Reply, StoreError> {
        let epoch = self.core.epoch()?;
        let mut command = NAMES.call(epoch, &[keys::meta(), key]);
        command.arg(kind).arg(most);
        let reply = self.core.query(command).await.and_then(Reply::of);
        self.core.noting(epoch, reply)
    }
}

fn read_names(mut reply: Reply) -> Result<Vec<OrderKey>, StoreError> {
    let mut names = Vec::new();
    while reply.has_more() {
        let name = reply.text()?;
        names.push(OrderKey::parse(&name).ok_or_else(|| corrupt("a set holds no order name"))?);
    }
    Ok(names)
}
