//! The scripts: their texts, their calls, and the reading of what they answer.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use redis::Value;
use serde::Serialize;

use crate::domain::settlement::{SharedSum, SumDeltas, SumScope};
use crate::store::error::StoreError;
use crate::store::keys;

/// A script with the prelude before it, bound to an epoch: its hash is another one in every epoch. So a Redis that was
/// not healed in the epoch in force (restarted, or an older copy that was made the primary again) does not know it.
pub(super) struct Script {
    flags: &'static str,
    body: &'static str,
    /// The hash in the epoch it was last called in.
    cached_sha1: RwLock<Option<(String, Arc<str>)>>,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal, $flags:literal;)+) => {
        $($(#[$doc])* pub(super) static $name: Script = Script {
            // A script may pass the memory ceiling unless it is the one that takes new orders: cancels, releases and the
            // journal's marks must go on, and they are what frees memory.
            flags: $flags,
            body: concat!(include_str!("lua/prelude.lua"), "\n", include_str!(concat!("lua/", $file))),
            cached_sha1: RwLock::new(None),
        };)+
        /// Every script that is called by its hash.
        pub(super) static LOADED_SCRIPTS: &[&Script] = &[$(&$name),+];
    };
}

scripts! {
    RESERVE = "reserve.lua", "#!lua\n";
    SETTLE = "settle.lua", "#!lua flags=allow-oom\n";
    MARK_JOURNALED = "journaled.lua", "#!lua flags=allow-oom\n";
    RELEASE_CLAIM = "release.lua", "#!lua flags=allow-oom\n";
    COUNT_CANCEL = "rate.lua", "#!lua flags=allow-oom\n";
    BOOK_ADJUSTMENT = "adjust.lua", "#!lua\n";
    READ_ADJUSTMENT = "adjustment_read.lua", "#!lua flags=no-writes\n";
    MARK_ADJUSTMENT_JOURNALED = "adjustment_journaled.lua", "#!lua flags=allow-oom\n";
    REPLAY_ADJUSTMENT = "adjustment_replay.lua", "#!lua flags=allow-oom\n";
    READ_ORDER = "read.lua", "#!lua flags=no-writes\n";
    READ_WAITING = "ready.lua", "#!lua flags=no-writes\n";
    READ_MEMBERS = "names.lua", "#!lua flags=no-writes\n";
    MEASURE = "figures.lua", "#!lua flags=no-writes\n";
    READ_CONTROL = "control.lua", "#!lua flags=no-writes\n";
    READ_DAY_INPUTS = "day_look.lua", "#!lua flags=no-writes\n";
    ROLL_DAY = "begin_day.lua", "#!lua flags=allow-oom\n";
    OPERATOR_STATE = "state.lua", "#!lua flags=allow-oom\n";
    LOCKS = "latch.lua", "#!lua flags=allow-oom\n";
    REPLAY_ORDERS = "replay.lua", "#!lua flags=allow-oom\n";
    START_SENDING = "start.lua", "#!lua flags=allow-oom\n";
    WITHDRAW_SUBMISSION = "withdraw.lua", "#!lua flags=allow-oom\n";
    MARK_WITHDRAWAL_JOURNALED = "withdrawn.lua", "#!lua flags=allow-oom\n";
    INQUIRE = "inquire.lua", "#!lua flags=allow-oom\n";
    REPLAY_SUBMISSIONS = "replay_submission.lua", "#!lua flags=allow-oom\n";
    FINISH_REBUILD = "finish_healing.lua", "#!lua flags=allow-oom\n";
    ABANDON_REBUILD = "abandon_healing.lua", "#!lua flags=allow-oom\n";
}

/// The script that starts a healing; called by its text, since a restart drops what was loaded.
pub(super) const BEGIN_REBUILD: &str = include_str!("lua/begin_healing.lua");

impl Script {
    /// Returns the script's text in an epoch.
    pub(super) fn source(&self, epoch: &str) -> String {
        format!("{}-- epoch {epoch}\n{}", self.flags, self.body)
    }

    /// Returns the hash Redis knows the script by in an epoch.
    pub(super) fn sha1(&self, epoch: &str) -> Arc<str> {
        let known = self.cached_sha1.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, hash)) = known.as_ref().filter(|(of, _)| of == epoch) {
            return hash.clone();
        }
        drop(known);
        let hash: Arc<str> = redis::Script::new(&self.source(epoch)).get_hash().into();
        *self.cached_sha1.write().unwrap_or_else(PoisonError::into_inner) = Some((epoch.to_owned(), hash.clone()));
        hash
    }

    /// Returns the command that calls the script by its hash, with the epoch as its first argument. Nothing loads it
    /// silently: a missing script means that Redis is not the one that was healed.
    pub(super) fn evalsha_command(&self, epoch: impl std::fmt::Display, keys: &[String]) -> redis::Cmd {
        let epoch = epoch.to_string();
        let mut command = redis::cmd("EVALSHA");
        command.arg(&*self.sha1(&epoch)).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        command.arg(epoch);
        command
    }
}

/// The keys of one call, each named once; commands refer to them by their place, counted from 1 as Lua does.
#[derive(Debug)]
pub(super) struct KeyTable {
    keys: Vec<String>,
    indices: HashMap<String, usize>,
}

impl KeyTable {
    pub(super) fn new(fixed: Vec<String>) -> Self {
        let places = fixed
            .iter()
            .enumerate()
            .map(|(at, key)| (key.clone(), at + 1))
            .collect();
        Self {
            keys: fixed,
            indices: places,
        }
    }

    /// Returns the place of a key that only one command of the call names: it is not looked for. Named twice all the
    /// same, it has two places, and a script sees no difference.
    pub(super) fn add_unshared(&mut self, key: String) -> usize {
        self.keys.push(key);
        self.keys.len()
    }

    /// Returns the place of a key that commands share.
    pub(super) fn intern(&mut self, key: String) -> usize {
        if let Some(place) = self.indices.get(&key) {
            return *place;
        }
        self.keys.push(key.clone());
        self.indices.insert(key, self.keys.len());
        self.keys.len()
    }

    /// Returns the moves of an order's sums with the names of their keys, as a record keeps them.
    pub(super) fn encode_named_moves(scope: &SumScope, deltas: &SumDeltas) -> Result<String, StoreError> {
        let moved = SharedSum::ALL.into_iter().filter(|counter| deltas.get(*counter) != 0);
        let moves: Vec<(String, &str, i64, bool)> = moved
            .map(|counter| {
                let (key, field) = keys::counter_location(scope, counter);
                (key, field, deltas.get(counter), counter.is_daily())
            })
            .collect();
        to_json(&moves)
    }

    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Returns the moves of an order's sums as scripts read them, those that move nothing left out.
    pub(super) fn encode_moves(&mut self, scope: &SumScope, deltas: &SumDeltas) -> Vec<CounterMove> {
        let moved = SharedSum::ALL.into_iter().filter(|counter| deltas.get(*counter) != 0);
        moved
            .map(|counter| {
                let (key, field) = keys::counter_location(scope, counter);
                CounterMove(self.intern(key), field, deltas.get(counter), counter.is_daily())
            })
            .collect()
    }
}

/// Key index, field, delta, whether it is a day's counter.
#[derive(Debug, Serialize)]
pub(super) struct CounterMove(usize, &'static str, i64, bool);

/// Returns a command as a script reads it.
pub(super) fn to_json<T: Serialize>(command: &T) -> Result<String, StoreError> {
    serde_json::to_string(command).map_err(|error| StoreError::NotExecuted(error.to_string()))
}

/// Returns how long a day's counters live, in milliseconds.
pub(super) fn day_ttl_ms() -> i64 {
    keys::DAY_COUNTER_RETENTION_DAYS * 24 * 60 * 60 * 1_000
}

/// One answer of a script: its verdict and what follows it.
#[derive(Debug)]
pub(super) struct ScriptReply {
    pub(super) verdict: String,
    fields: std::vec::IntoIter<Value>,
}

impl ScriptReply {
    /// Reads an answer whose first element is its verdict; `stale` is an error for every script.
    pub(super) fn from_value(value: Value) -> Result<Self, StoreError> {
        let Value::Array(fields) = value else {
            return Err(corrupt("a script's answer is no list"));
        };
        let mut fields = fields.into_iter();
        let verdict = decode_text(fields.next().ok_or_else(|| corrupt("a script's answer is empty"))?)?;
        let mut reply = Self { verdict, fields };
        if reply.verdict == "stale" {
            let epoch = reply.next_text()?;
            let found = if epoch.is_empty() {
                "it is empty".to_owned()
            } else {
                format!("its epoch is {epoch}")
            };
            return Err(StoreError::Stale(found));
        }
        Ok(reply)
    }

    /// Reads the answers of a batch; a batch that met a foreign epoch has one answer for all.
    pub(super) fn from_batch_value(value: Value) -> Result<Vec<Self>, StoreError> {
        let Value::Array(answers) = value else {
            return Err(corrupt("a batch's answer is no list"));
        };
        if !matches!(answers.first(), Some(Value::Array(_)) | None) {
            Self::from_value(Value::Array(answers))?;
            return Err(corrupt("a batch's answer is no list of answers"));
        }
        answers.into_iter().map(Self::from_value).collect()
    }

    /// Reads an answer that is a list of words; `stale` is an error for every script.
    pub(super) fn words_from_value(value: Value) -> Result<Vec<String>, StoreError> {
        let mut reply = Self::from_value(value)?;
        let mut words = vec![reply.verdict.clone()];
        while reply.has_more() {
            words.push(reply.next_text()?);
        }
        Ok(words)
    }

    pub(super) fn next_bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        decode_bytes(
            self.fields
                .next()
                .ok_or_else(|| corrupt("a script's answer is too short"))?,
        )
    }

    pub(super) fn next_text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.next_bytes()?).map_err(|_| corrupt("a script's answer is not UTF-8"))
    }

    pub(super) fn next_integer<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        self.next_text()?
            .parse()
            .map_err(|_| corrupt("a script's answer is no integer"))
    }

    pub(super) fn has_more(&self) -> bool {
        !self.fields.as_slice().is_empty()
    }

    /// Returns the error of a verdict nobody expects.
    pub(super) fn unexpected_verdict(&self) -> StoreError {
        corrupt(&format!("a script answered {:?}", self.verdict))
    }
}

fn decode_text(value: Value) -> Result<String, StoreError> {
    String::from_utf8(decode_bytes(value)?).map_err(|_| corrupt("a script's answer is not UTF-8"))
}

fn decode_bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        other => Err(corrupt(&format!("a script's answer holds {other:?}"))),
    }
}

pub(super) fn corrupt(detail: &str) -> StoreError {
    StoreError::Corrupt(detail.to_owned())
}
