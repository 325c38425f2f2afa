//! Locks (`lua/latch.lua`): set at once, and kept in step with the journal.

use bytes::Bytes;

use crate::domain::control::LockScope;
use crate::domain::order_terms::Mode;
use crate::store::client::Store;
use crate::store::control::alerts::WaitingAlert;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::MAX_LOCKS;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::script::{LOCKS, ScriptReply};

/// The result of setting a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetLockOutcome {
    /// The lock is in force.
    Set,
    /// A lock of this id was already in force; holds its document.
    AlreadySet(Bytes),
    /// There are [`MAX_LOCKS`] already.
    TooManyLocks,
    /// The control generation is not the one of the evaluation that calls for the lock.
    GenerationChanged,
}

/// A lock in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLock {
    /// Its id.
    pub lock_id: String,
    /// The journal document it was set with.
    pub document: Bytes,
    /// Whether the document is still to be journaled.
    pub is_awaiting_journal: bool,
}

/// Locks, and the journal sequence up to which they include the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLocks {
    /// The journal sequence up to which every event of a lock is applied.
    pub journal_watermark: u64,
    /// The locks.
    pub locks: Vec<StoredLock>,
}

/// A journaled event of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledLockEvent {
    /// The lock's id.
    pub lock_id: String,
    /// Whether the lock was set; otherwise it was lifted.
    pub is_set: bool,
    /// The event's document.
    pub document: Bytes,
}

impl Store {
    /// Sets a lock, unless it is set already. `generation` is the control generation of the evaluation that calls for the
    /// lock; `None` for a lock that no evaluation calls for. `breach` is the scope of a loss that has reached its limit: the
    /// lock then stands in its place. `alert` enters the outbox of alerts with the lock.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] it may be set.
    pub async fn set_lock(
        &self,
        lock_id: &str,
        document: &Bytes,
        generation: Option<u64>,
        breach: Option<(Mode, &LockScope)>,
        alert: Option<&WaitingAlert>,
    ) -> Result<SetLockOutcome, StoreError> {
        let breached_ledger = breach.and_then(|(mode, scope)| match scope {
            LockScope::All => Some(keys::total_ledger(mode)),
            LockScope::Account(account_id) => Some(keys::account_ledger(mode, account_id)),
            LockScope::Symbol(..) | LockScope::AccountSymbol(..) | LockScope::Broker(_) => None,
        });
        let generation = generation.map_or_else(String::new, |generation| generation.to_string());
        let arguments = [
            "set".into(),
            lock_id.to_owned().into(),
            document.clone(),
            MAX_LOCKS.to_string().into(),
            generation.into(),
            alert.map_or_else(Bytes::new, |alert| alert.name.clone().into()),
            alert.map_or_else(Bytes::new, |alert| alert.document.clone()),
        ];
        let mut reply = self.call_lock_script(None, breached_ledger, &arguments).await?;
        match reply.verdict.as_str() {
            "set" => Ok(SetLockOutcome::Set),
            "standing" => Ok(SetLockOutcome::AlreadySet(reply.next_bytes()?.into())),
            "full" => Ok(SetLockOutcome::TooManyLocks),
            "outdated" => Ok(SetLockOutcome::GenerationChanged),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Returns the locks in force.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_locks(&self, rebuild: Option<&StoreRebuild>) -> Result<StoredLocks, StoreError> {
        self.list_locks(rebuild, "all").await
    }

    /// Returns the locks whose documents are not journaled yet.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_unjournaled_locks(&self, rebuild: Option<&StoreRebuild>) -> Result<StoredLocks, StoreError> {
        self.list_locks(rebuild, "waiting").await
    }

    /// Applies journaled events in the journal's order, where the store's watermark is `from`, and raises the watermark to
    /// `to`. Returns whether the watermark was `from`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn apply_lock_events(
        &self,
        rebuild: Option<&StoreRebuild>,
        (from, to): (u64, u64),
        events: &[JournaledLockEvent],
    ) -> Result<bool, StoreError> {
        let mut arguments: Vec<Bytes> = vec!["apply".into(), from.to_string().into(), to.to_string().into()];
        for event in events {
            let kind = if event.is_set { "locked" } else { "lifted" };
            arguments.extend([kind.into(), event.lock_id.clone().into(), event.document.clone()]);
        }
        let reply = self.call_lock_script(rebuild, None, &arguments).await?;
        match reply.verdict.as_str() {
            "applied" => Ok(true),
            "moved" => Ok(false),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    async fn list_locks(&self, rebuild: Option<&StoreRebuild>, which: &'static str) -> Result<StoredLocks, StoreError> {
        let mut reply = self.call_lock_script(rebuild, None, &[which.into()]).await?;
        let mut stored = StoredLocks {
            journal_watermark: reply.next_integer()?,
            locks: Vec::new(),
        };
        while reply.has_more() {
            stored.locks.push(StoredLock {
                lock_id: reply.next_text()?,
                document: reply.next_bytes()?.into(),
                is_awaiting_journal: !reply.next_bytes()?.is_empty(),
            });
        }
        Ok(stored)
    }

    async fn call_lock_script(
        &self,
        rebuild: Option<&StoreRebuild>,
        breached_ledger: Option<String>,
        arguments: &[Bytes],
    ) -> Result<ScriptReply, StoreError> {
        let mut keys = vec![
            keys::meta(),
            keys::operator_state(),
            keys::locks(),
            keys::unjournaled_locks(),
            keys::waiting_alerts(),
            keys::waiting_alert_names(),
        ];
        keys.extend(breached_ledger);
        let mut call = self.connection.script_call(&LOCKS, rebuild, &keys)?;
        for argument in arguments {
            call.arg(&argument[..]);
        }
        self.connection.run(call).await
    }
}
