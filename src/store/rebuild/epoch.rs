//! The store's epoch: joining a store that is whole, and taking over one that is not, to heal it.

use redis::Value;

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::orders::read::StoredOrder;
use crate::store::script::{ABANDON_REBUILD, BEGIN_REBUILD, FINISH_REBUILD, LOADED_SCRIPTS, ScriptReply, corrupt};

/// How long a healer may be silent before another takes over, in milliseconds.
pub const REBUILD_LEASE_MS: u64 = 30_000;
/// The most claims a healing looks at in one go.
const CLAIMS_PAGE: usize = 1_000;

/// What a look at the store shows, before anything is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// Its epoch as it stands there; empty in an empty store.
    pub epoch: String,
    /// Whether the scripts are loaded: a restart drops them.
    pub has_scripts: bool,
    /// The highest journal sequence it knows of.
    pub journal_sequence: u64,
    /// The highest journal sequence of a latch's event that it has applied.
    pub lock_watermark: u64,
    /// The creation time of the journal it belongs to; empty before the first healing.
    pub journal_created: String,
    /// Late events of the epoch before: from this sequence on, until this moment; zero where there are none.
    pub late_from_sequence: u64,
    /// See `late_from`; milliseconds since 1970, by Redis' clock.
    pub late_until_ms: i64,
}

impl StoreStatus {
    /// Returns the epoch, where one is in force and the store has not been restarted.
    pub fn active_epoch(&self) -> Option<i64> {
        self.epoch.parse().ok().filter(|_| self.has_scripts)
    }
}

/// What workers of the epoch before a healing may still append to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateEvents {
    /// The first sequence that was not replayed.
    pub from_sequence: u64,
    /// How long they may still come, in milliseconds.
    pub window_ms: u64,
}

/// The right to heal the store, until it is finished or its lock runs out.
#[derive(Debug)]
pub struct StoreRebuild {
    pub(in crate::store) epoch: String,
    /// The highest journal sequence the store knew of.
    pub journal_sequence: u64,
    /// The creation time of the journal it belonged to; empty where it belonged to none.
    pub journal_created: String,
}

/// What became of the wish to heal.
#[derive(Debug)]
pub enum BeginRebuildOutcome {
    /// This worker heals.
    Acquired(StoreRebuild),
    /// Another worker is healing.
    Busy,
    /// Another worker has just healed.
    AlreadyRebuilt,
}

impl Store {
    /// Looks at the store without asking anything of it.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn read_status(&self) -> Result<StoreStatus, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(keys::meta()).arg(&[
            "epoch",
            "journal_sequence",
            "journal_created",
            "late_from",
            "late_until",
            "latch_sequence",
        ]);
        let Value::Array(fields) = self.connection.query(command).await? else {
            return Err(corrupt("meta is no hash"));
        };
        let mut fields = fields.into_iter().map(|field| match field {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            _ => String::new(),
        });
        let mut next = || fields.next().unwrap_or_default();
        let (epoch, sequence, journal_created) = (next(), next(), next());
        let (late_from, late_until, latch_sequence) = (next(), next(), next());
        let mut command = redis::cmd("SCRIPT");
        command.arg("EXISTS");
        for script in LOADED_SCRIPTS {
            command.arg(&*script.sha1(&epoch));
        }
        let loaded = self.connection.query(command).await?;
        let has_scripts = matches!(&loaded, Value::Array(each) if each.iter().all(|one| *one == Value::Int(1)));
        Ok(StoreStatus {
            epoch,
            has_scripts,
            journal_sequence: sequence.parse().unwrap_or(0),
            lock_watermark: latch_sequence.parse().unwrap_or(0),
            journal_created,
            late_from_sequence: late_from.parse().unwrap_or(0),
            late_until_ms: late_until.parse().unwrap_or(0),
        })
    }

    /// Puts the epoch of a store that is whole in force for this process.
    pub fn join_epoch(&self, epoch: i64) {
        self.connection.set_epoch(epoch);
    }

    /// Takes the store for healing, if it is still as `found` shows it: from here on no worker's script passes until
    /// [`Store::finish_healing`]. Loads the scripts.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Corrupt`] for a store that lost its epoch but not its orders.
    pub async fn begin_rebuild(&self, status: &StoreStatus) -> Result<BeginRebuildOutcome, StoreError> {
        if status.epoch.is_empty() && self.has_other_keys().await? {
            return Err(corrupt(
                "it has lost its epoch but not its orders; empty it to have it rebuilt",
            ));
        }
        let token = format!("healing:{}", LeaseToken::generate().as_str());
        let mut command = redis::cmd("EVAL");
        command
            .arg(BEGIN_REBUILD)
            .arg(2)
            .arg(keys::meta())
            .arg(keys::rebuild_lease());
        command.arg(&token).arg(REBUILD_LEASE_MS).arg(&status.epoch);
        let mut reply = self.connection.query(command).await.and_then(ScriptReply::from_value)?;
        match reply.verdict.as_str() {
            "busy" => return Ok(BeginRebuildOutcome::Busy),
            "healed" => return Ok(BeginRebuildOutcome::AlreadyRebuilt),
            "begun" => {}
            _ => return Err(reply.unexpected_verdict()),
        }
        let healing = StoreRebuild {
            epoch: token,
            journal_sequence: reply.next_integer()?,
            journal_created: reply.next_text()?,
        };
        self.load_scripts(&healing.epoch).await?;
        Ok(BeginRebuildOutcome::Acquired(healing))
    }

    /// Returns orders that were claimed or being sent when the store was taken for healing, at most 1 000 at a time, after
    /// the first `past`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_claims_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        offset: usize,
    ) -> Result<Vec<StoredOrder>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(keys::leases()).arg(offset).arg(offset + CLAIMS_PAGE - 1);
        let Value::Array(names) = self.connection.query(command).await? else {
            return Err(corrupt("leases are no set"));
        };
        let mut records = Vec::new();
        for name in names {
            let Value::BulkString(name) = name else {
                return Err(corrupt("a lease has no name"));
            };
            let key = OrderKey::parse(&String::from_utf8_lossy(&name)).ok_or_else(|| corrupt("a lease has no name"))?;
            records.extend(self.read_order_in_epoch(rebuild.epoch.clone(), &key).await?);
        }
        Ok(records)
    }

    /// Returns what is known of an order of a store that is being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_order_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        key: &OrderKey,
    ) -> Result<Option<StoredOrder>, StoreError> {
        self.read_order_in_epoch(rebuild.epoch.clone(), key).await
    }

    /// Releases a claim of an epoch that is over: it was never sent.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn release_claim_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        order: &Order,
        lease: &LeaseToken,
    ) -> Result<bool, StoreError> {
        self.release_claim_in_epoch(rebuild.epoch.clone(), order, lease).await
    }

    /// Ends the healing: `epoch` is in force for the store and for this process.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another healer has taken over.
    pub async fn finish_rebuild(
        &self,
        rebuild: &StoreRebuild,
        epoch: i64,
        journal_created: &str,
        late_events: LateEvents,
    ) -> Result<(), StoreError> {
        self.load_scripts(&epoch.to_string()).await?;
        let mut command = FINISH_REBUILD.evalsha_command(
            &rebuild.epoch,
            &[keys::meta(), keys::rebuild_lease(), keys::operator_state()],
        );
        command
            .arg(epoch)
            .arg(journal_created)
            .arg(late_events.from_sequence)
            .arg(late_events.window_ms);
        self.connection.query(command).await.and_then(ScriptReply::from_value)?;
        self.join_epoch(epoch);
        Ok(())
    }

    /// Gives a healing up after an error, so that another can begin at once. Where it cannot be told, the lock runs out.
    pub async fn abandon_rebuild(&self, rebuild: &StoreRebuild) {
        let command = ABANDON_REBUILD.evalsha_command(&rebuild.epoch, &[keys::meta(), keys::rebuild_lease()]);
        if let Err(error) = self.connection.query(command).await.and_then(ScriptReply::from_value) {
            tracing::debug!(%error, "a healing is given up when its lock runs out");
        }
    }

    async fn load_scripts(&self, epoch: &str) -> Result<(), StoreError> {
        for script in LOADED_SCRIPTS {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(script.source(epoch));
            self.connection.query(command).await?;
        }
        Ok(())
    }

    async fn has_other_keys(&self) -> Result<bool, StoreError> {
        let own = [keys::meta(), keys::rebuild_lease()];
        let mut cursor = "0".to_owned();
        loop {
            let mut command = redis::cmd("SCAN");
            command
                .arg(&cursor)
                .arg("MATCH")
                .arg(keys::all_keys_pattern())
                .arg("COUNT")
                .arg(CLAIMS_PAGE);
            let Value::Array(page) = self.connection.query(command).await? else {
                return Err(corrupt("a scan is no list"));
            };
            let [Value::BulkString(next), Value::Array(found)] = page.as_slice() else {
                return Err(corrupt("a scan is no page"));
            };
            let foreign = |key: &Value| matches!(key, Value::BulkString(key) if !own.iter().any(|own| own.as_bytes() == key.as_slice()));
            if found.iter().any(foreign) {
                return Ok(true);
            }
            cursor = String::from_utf8_lossy(next).into_owned();
            if cursor == "0" {
                return Ok(false);
            }
        }
    }
}
