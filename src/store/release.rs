//! Releasing a claim that was never sent (`lua/release.lua`).

use super::connection::Store;
use super::error::StoreError;
use super::keys::{self, OrderKey};
use super::script::{KeyTable, RELEASE, Reply, day_ttl_ms, json};
use crate::domain::id::LeaseToken;
use crate::domain::order::Order;

impl Store {
    /// Gives back everything a claimed order reserved and frees its id, if it is still claimed under this lease.
    /// Returns whether it was.
    ///
    /// # Errors
    /// Any [`StoreError`]; the claim then ends with its lease.
    pub async fn release(&self, order: &Order, lease: &LeaseToken) -> Result<bool, StoreError> {
        let epoch = self.core.epoch()?;
        self.release_in(epoch.to_string(), order, lease).await
    }

    pub(super) async fn release_in(
        &self,
        epoch: String,
        order: &Order,
        lease: &LeaseToken,
    ) -> Result<bool, StoreError> {
        let key = OrderKey::of(order);
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::leases(),
            key.record(),
            keys::index(&order.order_id),
            keys::open(&order.broker, &order.account_id),
            keys::duplicate(order.mode, &order.duplicate_terms()),
            keys::open_sets(),
        ]);
        let moves = keys.moves(&order.scope(), &order.claim_deltas().undone());
        let mut command = RELEASE.call(&epoch, keys.keys());
        command
            .arg(key.name())
            .arg(lease.as_str())
            .arg(json(&moves)?)
            .arg(day_ttl_ms());
        let reply = self.core.query(command).await.and_then(Reply::of);
        let reply = match epoch.parse::<i64>() {
            Ok(epoch) => self.core.noting(epoch, reply)?,
            Err(_) => reply?,
        };
        match reply.verdict.as_str() {
            "released" => Ok(true),
            "kept" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }
}
