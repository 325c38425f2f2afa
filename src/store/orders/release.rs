//! Releasing a claim that was never sent (`lua/release.lua`).

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::script::{KeyTable, RELEASE_CLAIM, ScriptReply, day_ttl_ms, to_json};

impl Store {
    /// Gives back everything a claimed order reserved and frees its id, if it is still claimed under this lease.
    /// Returns whether it was.
    ///
    /// # Errors
    /// Any [`StoreError`]; the claim then ends with its lease.
    pub async fn release_claim(&self, order: &Order, lease: &LeaseToken) -> Result<bool, StoreError> {
        let epoch = self.connection.epoch()?;
        self.release_claim_in_epoch(epoch.to_string(), order, lease).await
    }

    pub(in crate::store) async fn release_claim_in_epoch(
        &self,
        epoch: String,
        order: &Order,
        lease: &LeaseToken,
    ) -> Result<bool, StoreError> {
        let key = OrderKey::of(order);
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::leases(),
            key.record_key(),
            keys::order_index(&order.order_id),
            keys::open_orders(&order.broker, &order.account_id),
            keys::last_duplicate(order.mode, &order.duplicate_key()),
            keys::open_order_sets(),
        ]);
        let moves = keys.encode_moves(&order.sum_scope(), &order.reservation_deltas().reversed());
        let mut command = RELEASE_CLAIM.evalsha_command(&epoch, keys.keys());
        command
            .arg(key.name())
            .arg(lease.as_str())
            .arg(to_json(&moves)?)
            .arg(day_ttl_ms());
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let reply = match epoch.parse::<i64>() {
            Ok(epoch) => self.connection.clear_epoch_if_stale(epoch, reply)?,
            Err(_) => reply?,
        };
        match reply.verdict.as_str() {
            "released" => Ok(true),
            "kept" => Ok(false),
            _ => Err(reply.unexpected_verdict()),
        }
    }
}
