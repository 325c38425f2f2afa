//! Reading orders.

use bytes::Bytes;

use crate::domain::id::{LeaseToken, OrderId};
use crate::domain::venue_report::OutboxEntry;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::orders::record::{KnownOrder, decode_known_order, decode_pending_events};
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::script::{READ_MEMBERS, READ_ORDER, ScriptReply};

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
        let call = self.connection.script_call(&READ_ORDER, rebuild, &keys)?;
        let mut reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "missing" => Ok(None),
            "found" => decode_stored_order(key, &mut reply).map(Some),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Returns the idempotency key of the order with this router id.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn find_order_key(&self, order_id: &OrderId) -> Result<Option<OrderKey>, StoreError> {
        let keys = [keys::meta(), keys::order_index(order_id)];
        let call = self.connection.script_call(&READ_MEMBERS, None, &keys)?;
        let mut reply = self.connection.run(call).await?;
        if !reply.has_more() {
            return Ok(None);
        }
        let name = reply.next_text()?;
        let key = OrderKey::parse(&name);
        key.map(Some)
            .ok_or_else(|| StoreError::corrupt(format!("{name:?} is not the name of an order")))
    }
}

fn decode_stored_order(key: &OrderKey, reply: &mut ScriptReply) -> Result<StoredOrder, StoreError> {
    let known = decode_known_order(reply)?;
    let lease = Some(reply.next_text()?).filter(|token| !token.is_empty());
    Ok(StoredOrder {
        key: key.clone(),
        known,
        lease: lease.map(|token| LeaseToken(token.into())),
        document: Bytes::from(reply.next_bytes()?),
        pending_events: decode_pending_events(reply)?,
    })
}
