//! Numbers in Redis that only rise and are no part of what the journal rebuilds: their calls carry no epoch.

use redis::Value;

use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::script::{RAISE_NUMBER, ScriptReply};

/// What a number is raised from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaiseFrom {
    /// From whatever is known, or from nothing.
    Nothing,
    /// From what is known; where nothing is, it is not set.
    Known,
}

impl Store {
    /// Raises a number; a lower one changes nothing.
    ///
    /// # Errors
    /// Any [`StoreError`] but [`StoreError::Stale`]; after [`StoreError::OutcomeUnknown`] it may be raised.
    pub(super) async fn raise_number(
        &self,
        key: &str,
        number: i64,
        ttl_ms: u64,
        from: RaiseFrom,
    ) -> Result<(), StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(RAISE_NUMBER).arg(1).arg(key).arg(number).arg(ttl_ms);
        command.arg(match from {
            RaiseFrom::Nothing => "nothing",
            RaiseFrom::Known => "known",
        });
        self.run_unfenced(command).await.map(drop)
    }

    /// Runs a script that carries no epoch.
    ///
    /// # Errors
    /// As [`Store::raise_number`].
    pub(super) async fn run_unfenced(&self, command: redis::Cmd) -> Result<ScriptReply, StoreError> {
        let reply: Value = self.connection.query(command).await?;
        ScriptReply::from_value(reply)
    }
}
