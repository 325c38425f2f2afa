//! The store's epoch: joining a complete store, and taking over one that has to be rebuilt.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::Value;

use crate::domain::id::LeaseToken;
use crate::domain::order_key::OrderKey;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::read::StoredOrder;
use crate::store::rebuild::lease::{REBUILD_LEASE_MS, StoreRebuild};
use crate::store::script::{
    ABANDON_REBUILD, BEGIN_REBUILD, EXTEND_REBUILD, FINISH_REBUILD, LOADED_SCRIPTS, ScriptReply, epoch_marker,
};

/// The number of the schema that this release's keys, values and scripts follow. Raise it whenever one of them changes its
/// meaning: workers of two schemas never share a store.
pub const STORE_SCHEMA: u32 = 2;

/// The stages of a claim that was not released yet, as a record holds them.
const CLAIM_STAGES: [&str; 2] = ["claimed", "releasing"];
/// How many records are read at a time.
const READ_CONCURRENCY: usize = 32;
/// The most claims that one call returns.
const CLAIMS_PAGE: usize = 1_000;
/// The number of keys that one `SCAN` visits.
const SCAN_PAGE: usize = 1_000;

/// The state of the store as read without an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// The store's epoch as stored; empty in an empty store.
    pub epoch: String,
    /// The number of the schema that the store follows; empty in an empty store, and in one of a release before schemas had
    /// numbers.
    pub schema: String,
    /// Whether Redis has neither been restarted since the store was built, which drops the loaded scripts, nor been a replica
    /// meanwhile, which gives it another replication id.
    pub is_continuous: bool,
    /// Whether it has every script of this release in this epoch. One that is in use by another release of the same schema
    /// may lack some.
    pub has_scripts: bool,
    /// The highest journal sequence that the store knows.
    pub journal_sequence: u64,
    /// The journal sequence up to which the store has applied every event of a lock.
    pub lock_watermark: u64,
    /// The journal sequence up to which the store has applied every event of a dead man's switch.
    pub switch_watermark: u64,
    /// The creation time of the journal that the store belongs to; empty before the first rebuild.
    pub journal_created: String,
    /// The first journal sequence at which late events of the previous epoch may be; 0 where there are none.
    pub late_from_sequence: u64,
    /// Until when late events may be appended, in milliseconds since 1970 by Redis' clock; 0 where there are none.
    pub late_until_ms: i64,
}

impl StoreStatus {
    /// Reports whether the store belongs to a journal, or knows entries of one.
    pub fn has_seen_journal(&self) -> bool {
        !self.journal_created.is_empty() || self.highest_sequence() > 0
    }

    /// Returns the highest journal sequence that the store has seen.
    pub fn highest_sequence(&self) -> u64 {
        self.journal_sequence
            .max(self.lock_watermark)
            .max(self.switch_watermark)
    }

    /// Returns the epoch, where the store is complete and Redis has not been restarted since.
    pub fn active_epoch(&self) -> Option<i64> {
        self.epoch.parse().ok().filter(|_| self.is_continuous)
    }

    /// Returns the schema of a store that another release has built: its number, or empty for a release before schemas had
    /// numbers.
    pub fn foreign_schema(&self) -> Option<&str> {
        let is_own = self.schema == STORE_SCHEMA.to_string() || (self.schema.is_empty() && self.epoch.is_empty());
        (!is_own).then_some(self.schema.as_str())
    }
}

/// What a rebuild rebuilds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildScope {
    /// What the store lacks: everything of an empty one, and else what the journal has behind its watermark.
    Missing,
    /// Everything, whatever the store holds.
    Whole,
}

/// The events that workers of the previous epoch may still append to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateEvents {
    /// The first sequence that the rebuild did not replay.
    pub from_sequence: u64,
    /// For how long they may still be appended, in milliseconds.
    pub window_ms: u64,
}

/// The result of asking for the right to rebuild.
#[derive(Debug)]
pub enum BeginRebuildOutcome {
    /// This worker rebuilds the store.
    Acquired(StoreRebuild),
    /// Another worker is rebuilding it.
    Busy,
    /// Another worker has just rebuilt it.
    AlreadyRebuilt,
    /// A worker of another release has begun to build it meanwhile, under this schema.
    ForeignSchema(String),
}

/// A page of leases.
#[derive(Debug)]
pub struct ClaimsPage {
    /// How many leases it has.
    pub leases: usize,
    /// Their orders, as far as they can be read.
    pub orders: Vec<StoredOrder>,
}

impl Store {
    /// Returns the state of the store, whether or not an epoch is active.
    ///
    /// # Errors
    /// When Redis does not reply.
    pub async fn read_status(&self) -> Result<StoreStatus, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(keys::meta()).arg(&[
            "epoch",
            "journal_sequence",
            "journal_created",
            "late_from",
            "late_until",
            "latch_sequence",
            "schema",
            "switch_sequence",
            "replication_id",
        ]);
        let Value::Array(fields) = self.connection.query(command).await? else {
            return Err(StoreError::corrupt("meta is not a hash"));
        };
        let mut fields = fields.into_iter().map(|field| match field {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            _ => String::new(),
        });
        let mut next = || fields.next().unwrap_or_default();
        let (epoch, sequence, journal_created) = (next(), next(), next());
        let (late_from, late_until, lock_sequence, schema) = (next(), next(), next(), next());
        let (switch_sequence, built_under) = (next(), next());
        let mut command = redis::cmd("SCRIPT");
        command
            .arg("EXISTS")
            .arg(redis::Script::new(&epoch_marker(&epoch)).get_hash());
        for script in LOADED_SCRIPTS {
            command.arg(&*script.sha1(&epoch));
        }
        let Value::Array(exists) = self.connection.query(command).await? else {
            return Err(StoreError::corrupt("the reply to SCRIPT EXISTS is not a list"));
        };
        let is_loaded = |one: &Value| *one == Value::Int(1);
        let info = self.connection.read_info("replication").await?;
        let id = info.field("master_replid").unwrap_or_default();
        Ok(StoreStatus {
            epoch,
            schema,
            is_continuous: exists.first().is_some_and(is_loaded) && id == built_under,
            has_scripts: exists.iter().all(is_loaded),
            journal_sequence: sequence.parse().unwrap_or(0),
            lock_watermark: lock_sequence.parse().unwrap_or(0),
            switch_watermark: switch_sequence.parse().unwrap_or(0),
            journal_created,
            late_from_sequence: late_from.parse().unwrap_or(0),
            late_until_ms: late_until.parse().unwrap_or(0),
        })
    }

    /// Acquires the right to rebuild the store, if its epoch still is that of `status`, and loads the scripts. From here
    /// on no worker's script is executed until [`Store::finish_rebuild`].
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Corrupt`] for a store that lost its epoch but not its orders.
    pub async fn begin_rebuild(&self, status: &StoreStatus) -> Result<BeginRebuildOutcome, StoreError> {
        if status.epoch.is_empty() && self.has_other_keys().await? {
            return Err(StoreError::corrupt(
                "it has lost its epoch but not its orders; run `order-router rebuild`, which makes it from the journal",
            ));
        }
        self.acquire_rebuild(status, RebuildScope::Missing).await
    }

    /// As [`Store::begin_rebuild`], for a rebuild that drops what the store holds, whatever that is.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn begin_whole_rebuild(&self, status: &StoreStatus) -> Result<BeginRebuildOutcome, StoreError> {
        self.acquire_rebuild(status, RebuildScope::Whole).await
    }

    async fn acquire_rebuild(
        &self,
        status: &StoreStatus,
        scope: RebuildScope,
    ) -> Result<BeginRebuildOutcome, StoreError> {
        let token = format!("healing:{}", LeaseToken::generate().as_str());
        let mut command = redis::cmd("EVAL");
        command
            .arg(BEGIN_REBUILD)
            .arg(2)
            .arg(keys::meta())
            .arg(keys::rebuild_lease());
        command
            .arg(&token)
            .arg(REBUILD_LEASE_MS)
            .arg(&status.epoch)
            .arg(STORE_SCHEMA)
            .arg(u8::from(scope == RebuildScope::Whole));
        let mut reply = self.connection.query(command).await.and_then(ScriptReply::from_value)?;
        match reply.verdict.as_str() {
            "busy" => return Ok(BeginRebuildOutcome::Busy),
            "rebuilt" => return Ok(BeginRebuildOutcome::AlreadyRebuilt),
            "foreign" => return reply.next_text().map(BeginRebuildOutcome::ForeignSchema),
            "begun" => {}
            _ => return Err(reply.unexpected_verdict()),
        }
        let rebuild = StoreRebuild {
            epoch: token,
            journal_sequence: reply.next_integer()?,
            journal_created: reply.next_text()?,
            is_from_nothing: reply.next_text()? == "1",
        };
        if let Err(error) = self.remove_scripts().await {
            tracing::warn!(%error, "the scripts of earlier epochs stay in Redis until it is restarted");
        }
        self.load_scripts(&rebuild.epoch).await?;
        Ok(BeginRebuildOutcome::Acquired(rebuild))
    }

    /// Extends the right to rebuild by its whole lease.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another worker has taken over the rebuild.
    pub async fn extend_rebuild(&self, rebuild: &StoreRebuild) -> Result<(), StoreError> {
        let keys = [keys::meta(), keys::rebuild_lease()];
        let mut call = self.connection.script_call(&EXTEND_REBUILD, Some(rebuild), &keys)?;
        call.arg(REBUILD_LEASE_MS);
        self.connection.run(call).await.map(drop)
    }

    /// Returns orders that are still claimed or being sent, at most 1 000, after skipping the first `offset`; `None` where
    /// there are no more. A lease without a readable order is left out, and counts as skipped.
    ///
    /// # Errors
    /// Any [`StoreError`] but that of an unreadable record.
    pub async fn list_claims_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        offset: usize,
    ) -> Result<Option<ClaimsPage>, StoreError> {
        let names = self.read_names(&keys::leases(), offset).await?;
        if names.is_empty() {
            return Ok(None);
        }
        let leases = names.len();
        let mut orders = Vec::new();
        for key in names.iter().filter_map(parse_name) {
            match self.read_order_for_rebuild(rebuild, &key).await {
                Err(StoreError::Corrupt(_)) => {}
                read => orders.extend(read?),
            }
        }
        Ok(Some(ClaimsPage { leases, orders }))
    }

    /// Returns at most 1 000 names of a sorted set of orders, those with the earliest moments first.
    async fn read_names(&self, set: &str, offset: usize) -> Result<Vec<Value>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(set).arg(offset).arg(offset + CLAIMS_PAGE - 1);
        match self.connection.query(command).await? {
            Value::Array(names) => Ok(names),
            _ => Err(StoreError::corrupt(format!("{set} is not a sorted set"))),
        }
    }

    /// Returns the orders that are claimed at venues, and those whose claims an unfinished rebuild has withdrawn, each with a
    /// journal sequence that its submission comes after. The sequence may lie before the watermark: events of other orders
    /// raise that. A record that cannot be read is left out.
    ///
    /// # Errors
    /// When Redis does not reply.
    pub async fn find_claims(&self) -> Result<Vec<(OrderKey, u64)>, StoreError> {
        let mut claims = Vec::new();
        for set in [keys::leases(), keys::outbox()] {
            let mut offset = 0;
            loop {
                let names = self.read_names(&set, offset).await?;
                if names.is_empty() {
                    break;
                }
                let records = stream::iter(names.iter().filter_map(parse_name)).map(|key| self.read_claim(key));
                let read: Vec<_> = records.buffer_unordered(READ_CONCURRENCY).try_collect().await?;
                claims.extend(read.into_iter().flatten());
                offset += names.len();
            }
        }
        Ok(claims)
    }

    async fn read_claim(&self, key: OrderKey) -> Result<Option<(OrderKey, u64)>, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(keys::order_record(&key)).arg(&["st", "after"]);
        let reply = self.connection.query(command).await?;
        let record: Result<(Option<String>, Option<u64>), _> = redis::from_redis_value(reply);
        Ok(match record {
            Ok((Some(stage), Some(after))) if CLAIM_STAGES.contains(&stage.as_str()) => Some((key, after)),
            _ => None,
        })
    }

    /// Finishes the rebuild: `epoch` is active for the store and for this process.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another worker has taken over the rebuild.
    pub async fn finish_rebuild(
        &self,
        rebuild: &StoreRebuild,
        epoch: i64,
        journal_created: &str,
        late_events: LateEvents,
    ) -> Result<(), StoreError> {
        self.load_scripts(&epoch.to_string()).await?;
        let keys = [keys::meta(), keys::rebuild_lease(), keys::operator_state()];
        let mut call = self.connection.script_call(&FINISH_REBUILD, Some(rebuild), &keys)?;
        call.arg(epoch)
            .arg(journal_created)
            .arg(late_events.from_sequence)
            .arg(late_events.window_ms);
        self.connection.run(call).await?;
        self.join_epoch(epoch);
        // A store that began empty has nothing from before a power cut.
        if !rebuild.is_from_nothing
            && let Err(error) = self.rewrite_append_only_file().await
        {
            tracing::warn!(%error, "Redis' append-only file is not rewritten after a rebuild: rewrite it with BGREWRITEAOF");
        }
        Ok(())
    }

    /// Lets Redis write its append-only file again, in the background. Redis 7.0 keeps the beginning of a transaction that a
    /// power cut has torn in its file, and executes it at a later restart, in the middle of other commands.
    async fn rewrite_append_only_file(&self) -> Result<(), StoreError> {
        let info = self.connection.read_info("persistence").await?;
        if info.field("aof_enabled") != Some("1") || info.field("aof_rewrite_in_progress") == Some("1") {
            return Ok(());
        }
        self.connection.query(redis::cmd("BGREWRITEAOF")).await.map(drop)
    }

    /// Releases the right to rebuild after an error, so that another worker can begin at once. Where the release fails,
    /// the lease runs out.
    pub async fn abandon_rebuild(&self, rebuild: &StoreRebuild) {
        if let Err(error) = self.try_abandon_rebuild(rebuild).await {
            tracing::debug!(%error, "the rebuild lease was not released: it runs out by itself");
        }
    }

    async fn try_abandon_rebuild(&self, rebuild: &StoreRebuild) -> Result<(), StoreError> {
        let keys = [keys::meta(), keys::rebuild_lease()];
        let call = self.connection.script_call(&ABANDON_REBUILD, Some(rebuild), &keys)?;
        self.connection.run(call).await.map(drop)
    }

    /// Removes the scripts of every epoch before this rebuild: none of them may run any more, and Redis keeps what is loaded
    /// until it is restarted. A worker that does this late, after another has taken over the rebuild, makes the store be
    /// rebuilt once more.
    async fn remove_scripts(&self) -> Result<(), StoreError> {
        let mut command = redis::cmd("SCRIPT");
        command.arg("FLUSH").arg("ASYNC");
        self.connection.query(command).await.map(drop)
    }

    async fn load_scripts(&self, epoch: &str) -> Result<(), StoreError> {
        for script in LOADED_SCRIPTS {
            self.connection.query(load_command(&script.source(epoch))).await?;
        }
        self.connection
            .query(load_command(&epoch_marker(epoch)))
            .await
            .map(drop)
    }

    /// Loads this release's scripts into a store that a worker of another release with the same schema has built: it is in
    /// use, and stays so. Reports whether it did; Redis may have been restarted since its status was read.
    ///
    /// # Errors
    /// When Redis does not reply.
    pub async fn add_scripts(&self, epoch: i64) -> Result<bool, StoreError> {
        let epoch = epoch.to_string();
        // One connection that never reconnects: a Redis that is restarted in between must not get the scripts of an epoch
        // that its data may have lost the end of.
        let mut connection = self.connection.open_fixed().await?;
        let mut exists = redis::cmd("SCRIPT");
        exists
            .arg("EXISTS")
            .arg(redis::Script::new(&epoch_marker(&epoch)).get_hash());
        if exists.query_async::<Vec<bool>>(&mut connection).await? != [true] {
            return Ok(false);
        }
        for script in LOADED_SCRIPTS {
            let loaded = load_command(&script.source(&epoch))
                .query_async::<Value>(&mut connection)
                .await;
            loaded?;
        }
        Ok(true)
    }

    /// Reports whether the store holds any key beside `meta` and the rebuild lease.
    async fn has_other_keys(&self) -> Result<bool, StoreError> {
        let own = [keys::meta(), keys::rebuild_lease()];
        let mut cursor = "0".to_owned();
        loop {
            let (next, found) = self.scan_page(&cursor, SCAN_PAGE).await?;
            if found.iter().any(|key| !own.contains(key)) {
                return Ok(true);
            }
            cursor = next;
            if cursor == "0" {
                return Ok(false);
            }
        }
    }
}

fn parse_name(name: &Value) -> Option<OrderKey> {
    let Value::BulkString(name) = name else { return None };
    OrderKey::parse(&String::from_utf8_lossy(name))
}

fn load_command(source: &str) -> redis::Cmd {
    let mut command = redis::cmd("SCRIPT");
    command.arg("LOAD").arg(source);
    command
}
