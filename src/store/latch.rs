//! Latches (`lua/latch.lua`): set at once, and kept in step with what the journal holds of them.

use bytes::Bytes;

use super::connection::Store;
use super::epoch::Healing;
use super::error::StoreError;
use super::keys;
use super::script::{LATCH, Reply};

/// The most latches there may be. One more is refused, and with it the orders it would stop.
pub const MAX_LATCHES: usize = 1_000;

/// What came of setting a latch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LatchOutcome {
    /// It is in force.
    Set,
    /// One of its id stood already; its document.
    Standing(Bytes),
    /// There are as many as there may be.
    Full,
    /// Another generation is in force than the one it was called for by.
    Outdated,
}

/// A latch in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLatch {
    /// Its id.
    pub latch_id: String,
    /// The journal document it was set with.
    pub document: Bytes,
    /// Whether the document is still to be brought to the journal.
    pub is_waiting: bool,
}

/// Latches, and how much of the journal they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLatches {
    /// Up to this journal sequence every event of a latch is applied.
    pub sequence: u64,
    /// The latches.
    pub latches: Vec<StoredLatch>,
}

/// A journaled event of a latch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatchApply {
    /// The latch.
    pub latch_id: String,
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
    pub async fn set_latch(
        &self,
        latch_id: &str,
        document: &Bytes,
        generation: Option<u64>,
    ) -> Result<LatchOutcome, StoreError> {
        let most = MAX_LATCHES.to_string();
        let generation = generation.map_or_else(String::new, |generation| generation.to_string());
        let arguments = [
            "set".into(),
            latch_id.to_owned().into(),
            document.clone(),
            most.into(),
            generation.into(),
        ];
        let mut reply = self.latch_call(None, &arguments).await?;
        match reply.verdict.as_str() {
            "set" => Ok(LatchOutcome::Set),
            "standing" => Ok(LatchOutcome::Standing(reply.bytes()?.into())),
            "full" => Ok(LatchOutcome::Full),
            "outdated" => Ok(LatchOutcome::Outdated),
            _ => Err(reply.unexpected()),
        }
    }

    /// Returns the latches in force.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn latches(&self, healing: Option<&Healing>) -> Result<StoredLatches, StoreError> {
        self.listed(healing, "all").await
    }

    /// Returns the latches whose documents are still to be brought to the journal.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn waiting_latches(&self, healing: Option<&Healing>) -> Result<StoredLatches, StoreError> {
        self.listed(healing, "waiting").await
    }

    /// Applies journaled events, in the journal's order, where the store has applied everything up to `from` and nothing
    /// after it; it has applied everything up to `to` then. Returns whether it did.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn apply_latches(
        &self,
        healing: Option<&Healing>,
        (from, to): (u64, u64),
        events: &[LatchApply],
    ) -> Result<bool, StoreError> {
        let mut arguments: Vec<Bytes> = vec!["apply".into(), from.to_string().into(), to.to_string().into()];
        for event in events {
            let what = if event.is_set { "locked" } else { "lifted" };
            arguments.extend([what.into(), event.latch_id.clone().into(), event.document.clone()]);
        }
        let reply = self.latch_call(healing, &arguments).await?;
        match reply.verdict.as_str() {
            "applied" => Ok(true),
            "moved" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    async fn listed(&self, healing: Option<&Healing>, which: &'static str) -> Result<StoredLatches, StoreError> {
        let mut reply = self.latch_call(healing, &[which.into()]).await?;
        let mut stored = StoredLatches {
            sequence: reply.integer()?,
            latches: Vec::new(),
        };
        while reply.has_more() {
            stored.latches.push(StoredLatch {
                latch_id: reply.text()?,
                document: reply.bytes()?.into(),
                is_waiting: !reply.bytes()?.is_empty(),
            });
        }
        Ok(stored)
    }

    async fn latch_call(&self, healing: Option<&Healing>, arguments: &[Bytes]) -> Result<Reply, StoreError> {
        let keys = [keys::meta(), keys::state(), keys::latches(), keys::latches_waiting()];
        let epoch = match healing {
            Some(_) => None,
            None => Some(self.core.epoch()?),
        };
        let mut command = match (healing, epoch) {
            (Some(healing), _) => LATCH.call(&healing.epoch, &keys),
            (None, epoch) => LATCH.call(epoch.unwrap_or_default(), &keys),
        };
        for argument in arguments {
            command.arg(&argument[..]);
        }
        let reply = self.core.query(command).await.and_then(Reply::of);
        match epoch {
            Some(epoch) => self.core.noting(epoch, reply),
            None => reply,
        }
    }
}
