//! The turn to make a snapshot: one worker at a time has it (`lua/snapshot_turn.lua`).

use crate::domain::id::LeaseToken;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::script::SNAPSHOT_TURN;

/// How long a turn lasts that is not extended, in milliseconds.
const TURN_MS: u64 = 30_000;

impl Store {
    /// Takes the turn to make a snapshot, or extends it. Returns whether this worker has it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn take_snapshot_turn(&self, token: &LeaseToken) -> Result<bool, StoreError> {
        self.set_snapshot_turn(token, TURN_MS).await
    }

    /// Ends the turn, if this worker has it.
    ///
    /// # Errors
    /// Any [`StoreError`]; the turn then ends by itself.
    pub async fn end_snapshot_turn(&self, token: &LeaseToken) -> Result<(), StoreError> {
        self.set_snapshot_turn(token, 0).await.map(drop)
    }

    async fn set_snapshot_turn(&self, token: &LeaseToken, milliseconds: u64) -> Result<bool, StoreError> {
        let keys = [keys::meta(), keys::snapshot_turn()];
        let mut call = self.connection.script_call(&SNAPSHOT_TURN, None, &keys)?;
        call.arg(token.as_str()).arg(milliseconds);
        let reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "yours" => Ok(true),
            "taken" => Ok(false),
            _ => Err(reply.unexpected_verdict()),
        }
    }
}
