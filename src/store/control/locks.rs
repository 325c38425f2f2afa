//! Latches (`lua/latch.lua`): set at once, and kept in step with what the journal holds of them.

use bytes::Bytes;

use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::epoch::StoreRebuild;
use crate::store::script::{LOCKS, ScriptReply};

/// The most latches there may be. One more is refused, and with it the orders it would stop.
pub const MAX_LOCKS: usize = 1_000;

/// What came of setting a latch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetLockOutcome {
    /// It is in force.
    Set,
    /// One of its id stood already; its document.
    AlreadySet(Bytes),
    /// There are as many as there may be.
    TooManyLocks,
    /// Another generation is in force than the one it was called for by.
    GenerationChanged,
}

/// A latch in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLock {
    /// Its id.
    pub lock_id: String,
    /// The journal document it was set with.
    pub document: Bytes,
    /// Whether the document is still to be brought to the journal.
    pub is_awaiting_journal: bool,
}

/// Latches, and how much of the journal they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLocks {
    /// Up to this journal sequence every event of a latch is applied.
    pub journal_watermark: u64,
    /// The latches.
    pub locks: Vec<StoredLock>,
}

/// A journaled event of a latch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledLockEvent {
    /// The latch.
    pub lock_id: String,
    /// Whether it was set; lifted otherwise.
    pub is_set: bool,
    /// The event's document.
    pub document: Bytes,
}

impl Store {
    /// Sets a latch, unless one of its id stands.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::Unknown`] it may be set.
    pub async fn set_lock(
        &self,
        lock_id: &str,
        document: &Bytes,
        generation: Option<u64>,
    ) -> Result<SetLockOutcome, StoreError> {
        let most = MAX_LOCKS.to_string();
        let generation = generation.map_or_else(String::new, |generation| generation.to_string());
        let arguments = [
            "set".into(),
            lock_id.to_owned().into(),
            document.clone(),
            most.into(),
            generation.into(),
        ];
        let mut reply = self.call_lock_script(None, &arguments).await?;
        match reply.verdict.as_str() {
            "set" => Ok(SetLockOutcome::Set),
            "standing" => Ok(SetLockOutcome::AlreadySet(reply.next_bytes()?.into())),
            "full" => Ok(SetLockOutcome::TooManyLocks),
            "outdated" => Ok(SetLockOutcome::GenerationChanged),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Returns the latches in force.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_locks(&self, rebuild: Option<&StoreRebuild>) -> Result<StoredLocks, StoreError> {
        self.list_locks(rebuild, "all").await
    }

    /// Returns the latches whose documents are still to be brought to the journal.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_unjournaled_locks(&self, rebuild: Option<&StoreRebuild>) -> Result<StoredLocks, StoreError> {
        self.list_locks(rebuild, "waiting").await
    }

    /// Applies journaled events, in the journal's order, where the store has applied everything up to `from` and nothing
    /// after it; it has applied everything up to `to` then. Returns whether it did.
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
            let what = if event.is_set { "locked" } else { "lifted" };
            arguments.extend([what.into(), event.lock_id.clone().into(), event.document.clone()]);
        }
        let reply = self.call_lock_script(rebuild, &arguments).await?;
        match reply.verdict.as_str() {
            "applied" => Ok(true),
            "moved" => Ok(false),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    async fn list_locks(&self, rebuild: Option<&StoreRebuild>, which: &'static str) -> Result<StoredLocks, StoreError> {
        let mut reply = self.call_lock_script(rebuild, &[which.into()]).await?;
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
        arguments: &[Bytes],
    ) -> Result<ScriptReply, StoreError> {
        let keys = [
            keys::meta(),
            keys::operator_state(),
            keys::locks(),
            keys::unjournaled_locks(),
        ];
        let epoch = match rebuild {
            Some(_) => None,
            None => Some(self.connection.epoch()?),
        };
        let mut command = match (rebuild, epoch) {
            (Some(healing), _) => LOCKS.evalsha_command(&healing.epoch, &keys),
            (None, epoch) => LOCKS.evalsha_command(epoch.unwrap_or_default(), &keys),
        };
        for argument in arguments {
            command.arg(&argument[..]);
        }
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        match epoch {
            Some(epoch) => self.connection.clear_epoch_if_stale(epoch, reply),
            None => reply,
        }
    }
}
