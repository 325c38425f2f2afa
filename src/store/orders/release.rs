//! Releasing a claim that was never sent (`lua/release.lua`).

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::retention::retention_ms;
use crate::store::script::{EncodedMoves, KeyTable, RELEASE_CLAIM, ScriptReply, to_message_pack};

impl Store {
    /// Releases everything that a claimed order reserved and frees its id, if it is still claimed under this lease.
    /// Returns whether it was.
    ///
    /// # Errors
    /// Any [`StoreError`]; the claim then ends with its lease.
    pub async fn release_claim(&self, order: &Order, lease: &LeaseToken) -> Result<bool, StoreError> {
        self.release_claim_in_epoch(None, order, lease).await
    }

    /// As [`Store::release_claim`], during a rebuild, for a claim of an earlier epoch that was never sent.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn release_claim_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        order: &Order,
        lease: &LeaseToken,
    ) -> Result<bool, StoreError> {
        self.release_claim_in_epoch(Some(rebuild), order, lease).await
    }

    async fn release_claim_in_epoch(
        &self,
        rebuild: Option<&StoreRebuild>,
        order: &Order,
        lease: &LeaseToken,
    ) -> Result<bool, StoreError> {
        let key = order.key();
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::leases(),
            keys::order_record(&key),
            keys::open_orders(&order.broker, &order.account_id),
            keys::last_duplicate(order.mode, &order.duplicate_key()),
            keys::open_order_sets(),
        ]);
        let returned = encode_return(order, &mut keys)?;
        let mut call = self.connection.script_call(&RELEASE_CLAIM, rebuild, keys.keys())?;
        call.arg(key.name()).arg(lease.as_str()).arg(returned);
        call.arg(retention_ms(self.connection.settings.retention_h));
        decode_is_released(&self.connection.run(call).await?)
    }
}

/// Returns whose sums an order reserves, and the moves that release it.
pub(in crate::store) fn encode_return(order: &Order, keys: &mut KeyTable) -> Result<Vec<u8>, StoreError> {
    let scope = order.sum_scope();
    let moves = EncodedMoves::new(&scope, &order.reservation_deltas().reversed(), scope.trading_date);
    to_message_pack(&(keys.owner(&scope), moves))
}

/// Decodes whether an order was released, or kept because it is not held under the lease.
pub(in crate::store) fn decode_is_released(reply: &ScriptReply) -> Result<bool, StoreError> {
    match reply.verdict.as_str() {
        "released" => Ok(true),
        "kept" => Ok(false),
        _ => Err(reply.unexpected_verdict()),
    }
}
