//! The turns in which workers read the ledgers of accounts that hold something (`lua/sweep.lua`).

use std::time::Duration;

use crate::domain::id::AccountId;
use crate::domain::order_terms::Mode;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::SWEEP_ACCOUNTS;
use crate::store::retention::saturating_ms;
use crate::store::script::SWEEP;

impl Store {
    /// Takes the turn to read some of the accounts that hold something, each turn where the one before ended. Returns
    /// `None` where another worker has had a turn within `pause`, or within `round` where a turn reads all of them, and
    /// where no account holds anything.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn take_sweep_turn(
        &self,
        mode: Mode,
        pause: Duration,
        round: Duration,
    ) -> Result<Option<Vec<AccountId>>, StoreError> {
        let keys = [
            keys::meta(),
            keys::holding_accounts(mode),
            keys::sweep_turn(mode),
            keys::sweep_position(mode),
        ];
        let mut call = self.connection.script_call(&SWEEP, None, &keys)?;
        call.arg(saturating_ms(pause))
            .arg(SWEEP_ACCOUNTS)
            .arg(saturating_ms(round));
        let mut reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "not" => return Ok(None),
            "yours" => {}
            _ => return Err(reply.unexpected_verdict()),
        }
        let mut accounts = Vec::new();
        while reply.has_more() {
            accounts.push(keys::parse_account_ledger(mode, &reply.next_text()?)?);
        }
        Ok(Some(accounts))
    }
}
