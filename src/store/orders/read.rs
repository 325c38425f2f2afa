//! Reading orders.

use bytes::Bytes;

use crate::domain::id::LeaseToken;
use crate::domain::order_key::OrderKey;
use crate::domain::venue_report::OutboxEntry;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::record::{KnownOrder, decode_known_order, decode_pending_events};
use crate::store::orders::remembered::decode_entry;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::script::{READ_ORDER, ScriptReply};

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
