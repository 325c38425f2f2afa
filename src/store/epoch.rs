//! The store's epoch: joining a store that is whole, and taking over one that is not, to heal it.

use redis::Value;

use super::connection::Store;
use super::error::StoreError;
use super::keys::{self, OrderKey};
use super::read::Record;
use super::script::{ABANDON_HEALING, BEGIN_HEALING, FINISH_HEALING, LOADED, Reply, corrupt};
use crate::domain::id::LeaseToken;
use crate::domain::order::Order;

/// How long a healer may be silent before another takes over, in milliseconds.
pub const HEALING_LOCK_MS: u64 = 30_000;
/// The most claims a healing looks at in one go.
const CLAIMS_PAGE: usize = 1_000;

/// What a look at the store shows, before anything is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreLook {
    /// Its epoch as it stands there; empty in an empty store.
    pub epoch: String,
    /// Whether the scripts are loaded: a restart drops them.
    pub has_scripts: bool,
    /// The highest journal sequence it knows of.
    pub journal_sequence: u64,
    /// The highest journal sequence of a latch's event that it has applied.
    pub latch_sequence: u64,
    /// The creation time of the journal it belongs to; empty before the first healing.
    pub journal_created: String,
    /// Late events of the epoch before: from this sequence on, until this moment; zero where there are none.
    pub late_from: u64,
    /// See `late_from`; milliseconds since 1970, by Redis' clock.
    pub late_until_ms: i64,
}

impl StoreLook {
    /// Returns the epoch, where one is in force and the store has not been restarted.
    pub fn epoch_in_force(&self) -> Option<i64> {
        self.epoch.parse().ok().filter(|_| self.has_scripts)
    }
}

/// What workers of the epoch before a healing may still append to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateEvents {
    /// The first sequence that was not replayed.
    pub from_sequence: u64,
    /// How long they may still come, in milliseconds.
    pub span_ms: u64,
}

/// The right to heal the store, until it is finished or its lock runs out.
#[derive(Debug)]
pub struct Healing {
    pub(super) epoch: String,
    /// The highest journal sequence the store knew of.
    pub journal_sequence: u64,
    /// The creation time of the journal it belonged to; empty where it belonged to none.
    pub journal_created: String,
}

/// What became of the wish to heal.
#[derive(Debug)]
pub enum Begun {
    /// This worker heals.
    Healing(Healing),
    /// Another worker is healing.
    Busy,
    /// Another worker has just healed.
    Healed,
}

impl Store {
    /// Looks at the store without asking anything of it.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn look(&self) -> Result<StoreLook, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(keys::meta()).arg(&[
            "epoch",
            "journal_sequence",
            "journal_created",
            "late_from",
            "late_until",
            "latch_sequence",
        ]);
        let Value::Array(fields) = self.core.query(command).await? else {
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
        for script in LOADED {
            command.arg(&*script.hash(&epoch));
        }
        let loaded = self.core.query(command).await?;
        let has_scripts = matches!(&loaded, Value::Array(each) if each.iter().all(|one| *one == Value::Int(1)));
        Ok(StoreLook {
            epoch,
            has_scripts,
            journal_sequence: sequence.parse().unwrap_or(0),
            latch_sequence: latch_sequence.parse().unwrap_or(0),
            journal_created,
            late_from: late_from.parse().unwrap_or(0),
            late_until_ms: late_until.parse().unwrap_or(0),
        })
    }

    /// Puts the epoch of a store that is whole in force for this process.
    pub fn join(&self, epoch: i64) {
        self.core.join(epoch);
    }

    /// Takes the store for healing, if it is still as `found` shows it: from here on no worker's script passes until
    /// [`Store::finish_healing`]. Loads the scripts.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Corrupt`] for a store that lost its epoch but not its orders.
    pub async fn begin_healing(&self, found: &StoreLook) -> Result<Begun, StoreError> {
        if found.epoch.is_empty() && self.holds_anything().await? {
            return Err(corrupt(
                "it has lost its epoch but not its orders; empty it to have it rebuilt",
            ));
        }
        let token = format!("healing:{}", LeaseToken::assign().as_str());
        let mut command = redis::cmd("EVAL");
        command.arg(BEGIN_HEALING).arg(2).arg(keys::meta()).arg(keys::healing());
        command.arg(&token).arg(HEALING_LOCK_MS).arg(&found.epoch);
        let mut reply = self.core.query(command).await.and_then(Reply::of)?;
        match reply.verdict.as_str() {
            "busy" => return Ok(Begun::Busy),
            "healed" => return Ok(Begun::Healed),
            "begun" => {}
            _ => return Err(reply.unexpected()),
        }
        let healing = Healing {
            epoch: token,
            journal_sequence: reply.integer()?,
            journal_created: reply.text()?,
        };
        self.load_scripts(&healing.epoch).await?;
        Ok(Begun::Healing(healing))
    }

    /// Returns orders that were claimed or being sent when the store was taken for healing, at most 1 000 at a time, after
    /// the first `past`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn claims_to_heal(&self, healing: &Healing, past: usize) -> Result<Vec<Record>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(keys::leases()).arg(past).arg(past + CLAIMS_PAGE - 1);
        let Value::Array(names) = self.core.query(command).await? else {
            return Err(corrupt("leases are no set"));
        };
        let mut records = Vec::new();
        for name in names {
            let Value::BulkString(name) = name else {
                return Err(corrupt("a lease has no name"));
            };
            let key = OrderKey::parse(&String::from_utf8_lossy(&name)).ok_or_else(|| corrupt("a lease has no name"))?;
            records.extend(self.read_in(healing.epoch.clone(), &key).await?);
        }
        Ok(records)
    }

    /// Returns what is known of an order of a store that is being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_to_heal(&self, healing: &Healing, key: &OrderKey) -> Result<Option<Record>, StoreError> {
        self.read_in(healing.epoch.clone(), key).await
    }

    /// Releases a claim of an epoch that is over: it was never sent.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn release_to_heal(
        &self,
        healing: &Healing,
        order: &Order,
        lease: &LeaseToken,
    ) -> Result<bool, StoreError> {
        self.release_in(healing.epoch.clone(), order, lease).await
    }

    /// Ends the healing: `epoch` is in force for the store and for this process.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another healer has taken over.
    pub async fn finish_healing(
        &self,
        healing: &Healing,
        epoch: i64,
        journal_created: &str,
        late: LateEvents,
    ) -> Result<(), StoreError> {
        self.load_scripts(&epoch.to_string()).await?;
        let mut command = FINISH_HEALING.call(&healing.epoch, &[keys::meta(), keys::healing(), keys::state()]);
        command
            .arg(epoch)
            .arg(journal_created)
            .arg(late.from_sequence)
            .arg(late.span_ms);
        self.core.query(command).await.and_then(Reply::of)?;
        self.join(epoch);
        Ok(())
    }

    /// Gives a healing up after an error, so that another can begin at once. Where it cannot be told, the lock runs out.
    pub async fn abandon_healing(&self, healing: &Healing) {
        let command = ABANDON_HEALING.call(&healing.epoch, &[keys::meta(), keys::healing()]);
        if let Err(error) = self.core.query(command).await.and_then(Reply::of) {
            tracing::debug!(%error, "a healing is given up when its lock runs out");
        }
    }

    async fn load_scripts(&self, epoch: &str) -> Result<(), StoreError> {
        for script in LOADED {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(script.text(epoch));
            self.core.query(command).await?;
        }
        Ok(())
    }

    async fn holds_anything(&self) -> Result<bool, StoreError> {
        let own = [keys::meta(), keys::healing()];
        let mut cursor = "0".to_owned();
        loop {
            let mut command = redis::cmd("SCAN");
            command
                .arg(&cursor)
                .arg("MATCH")
                .arg(keys::everything())
                .arg("COUNT")
                .arg(CLAIMS_PAGE);
            let Value::Array(page) = self.core.query(command).await? else {
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
