//! The scripts: their texts, their calls, and the reading of what they answer.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use redis::Value;
use serde::Serialize;

use super::error::StoreError;
use super::keys;
use crate::domain::settlement::{Counter, Deltas, Scope};

/// A script with the prelude before it, bound to an epoch: its hash is another one in every epoch. So a Redis that was
/// not healed in the epoch in force (restarted, or an older copy that was made the primary again) does not know it.
pub(super) struct Script {
    flags: &'static str,
    body: &'static str,
    /// The hash in the epoch it was last called in.
    hash: RwLock<Option<(String, Arc<str>)>>,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal, $flags:literal;)+) => {
        $($(#[$doc])* pub(super) static $name: Script = Script {
            // A script may pass the memory ceiling unless it is the one that takes new orders: cancels, releases and the
            // journal's marks must go on, and they are what frees memory.
            flags: $flags,
            body: concat!(include_str!("lua/prelude.lua"), "\n", include_str!(concat!("lua/", $file))),
            hash: RwLock::new(None),
        };)+
        /// Every script that is called by its hash.
        pub(super) static LOADED: &[&Script] = &[$(&$name),+];
    };
}

scripts! {
    RESERVE = "reserve.lua", "#!lua\n";
    SETTLE = "settle.lua", "#!lua flags=allow-oom\n";
    JOURNALED = "journaled.lua", "#!lua flags=allow-oom\n";
    RELEASE = "release.lua", "#!lua flags=allow-oom\n";
    RATE = "rate.lua", "#!lua flags=allow-oom\n";
    ADJUST = "adjust.lua", "#!lua\n";
    ADJUSTMENT_READ = "adjustment_read.lua", "#!lua flags=no-writes\n";
    ADJUSTMENT_JOURNALED = "adjustment_journaled.lua", "#!lua flags=allow-oom\n";
    ADJUSTMENT_REPLAY = "adjustment_replay.lua", "#!lua flags=allow-oom\n";
    READ = "read.lua", "#!lua flags=no-writes\n";
    READY = "ready.lua", "#!lua flags=no-writes\n";
    NAMES = "names.lua", "#!lua flags=no-writes\n";
    FIGURES = "figures.lua", "#!lua flags=no-writes\n";
    CONTROL = "control.lua", "#!lua flags=no-writes\n";
    DAY_LOOK = "day_look.lua", "#!lua flags=no-writes\n";
    BEGIN_DAY = "begin_day.lua", "#!lua flags=allow-oom\n";
    STATE = "state.lua", "#!lua flags=allow-oom\n";
    LATCH = "latch.lua", "#!lua flags=allow-oom\n";
    REPLAY = "replay.lua", "#!lua flags=allow-oom\n";
    START = "start.lua", "#!lua flags=allow-oom\n";
    WITHDRAW = "withdraw.lua", "#!lua flags=allow-oom\n";
    WITHDRAWN = "withdrawn.lua", "#!lua flags=allow-oom\n";
    INQUIRE = "inquire.lua", "#!lua flags=allow-oom\n";
    REPLAY_SUBMISSION = "replay_submission.lua", "#!lua flags=allow-oom\n";
    FINISH_HEALING = "finish_healing.lua", "#!lua flags=allow-oom\n";
    ABANDON_HEALING = "abandon_healing.lua", "#!lua flags=allow-oom\n";
}

/// The script that starts a healing; called by its text, since a restart drops what was loaded.
pub(super) const BEGIN_HEALING: &str = include_str!("lua/begin_healing.lua");

impl Script {
    /// Returns the script's text in an epoch.
    pub(super) fn text(&self, epoch: &str) -> String {
        format!("{}-- epoch {epoch}\n{}", self.flags, self.body)
    }

    /// Returns the hash Redis knows the script by in an epoch.
    pub(super) fn hash(&self, epoch: &str) -> Arc<str> {
        let known = self.hash.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, hash)) = known.as_ref().filter(|(of, _)| of == epoch) {
            return hash.clone();
        }
        drop(known);
        let hash: Arc<str> = redis::Script::new(&self.text(epoch)).get_hash().into();
        *self.hash.write().unwrap_or_else(PoisonError::into_inner) = Some((epoch.to_owned(), hash.clone()));
        hash
    }

    /// Returns the command that calls the script by its hash, with the epoch as its first argument. Nothing loads it
    /// silently: a missing script means that Redis is not the one that was healed.
    pub(super) fn call(&self, epoch: impl std::fmt::Display, keys: &[String]) -> redis::Cmd {
        let epoch = epoch.to_string();
        let mut command = redis::cmd("EVALSHA");
        command.arg(&*self.hash(&epoch)).arg(keys.len());
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
    places: HashMap<String, usize>,
}

impl KeyTable {
    pub(super) fn new(fixed: Vec<String>) -> Self {
        let places = fixed
            .iter()
            .enumerate()
            .map(|(at, key)| (key.clone(), at + 1))
            .collect();
        Self { keys: fixed, places }
    }

    /// Returns the place of a key that only one command of the call names: it is not looked for. Named twice all the
    /// same, it has two places, and a script sees no difference.
    pub(super) fn own(&mut self, key: String) -> usize {
        self.keys.push(key);
        self.keys.len()
    }

    /// Returns the place of a key that commands share.
    pub(super) fn place(&mut self, key: String) -> usize {
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        self.keys.push(key.clone());
        self.places.insert(key, self.keys.len());
        self.keys.len()
    }

    /// Returns the moves of an order's sums with the names of their keys, as a record keeps them.
    pub(super) fn named_moves(scope: &Scope, deltas: &Deltas) -> Result<String, StoreError> {
        let moved = Counter::ALL.into_iter().filter(|counter| deltas.of(*counter) != 0);
        let moves: Vec<(String, &str, i64, bool)> = moved
            .map(|counter| {
                let (key, field) = keys::counter(scope, counter);
                (key, field, deltas.of(counter), counter.is_daily())
            })
            .collect();
        json(&moves)
    }

    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Returns the moves of an order's sums as scripts read them, those that move nothing left out.
    pub(super) fn moves(&mut self, scope: &Scope, deltas: &Deltas) -> Vec<Move> {
        let moved = Counter::ALL.into_iter().filter(|counter| deltas.of(*counter) != 0);
        moved
            .map(|counter| {
                let (key, field) = keys::counter(scope, counter);
                Move(self.place(key), field, deltas.of(counter), counter.is_daily())
            })
            .collect()
    }
}

/// Key index, field, delta, whether it is a day's counter.
#[derive(Debug, Serialize)]
pub(super) struct Move(usize, &'static str, i64, bool);

/// Returns a command as a script reads it.
pub(super) fn json<T: Serialize>(command: &T) -> Result<String, StoreError> {
    serde_json::to_string(command).map_err(|error| StoreError::NotExecuted(error.to_string()))
}

/// Returns how long a day's counters live, in milliseconds.
pub(super) fn day_ttl_ms() -> i64 {
    keys::DAY_COUNTER_DAYS * 24 * 60 * 60 * 1_000
}

/// One answer of a script: its verdict and what follows it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) verdict: String,
    fields: std::vec::IntoIter<Value>,
}

impl Reply {
    /// Reads an answer whose first element is its verdict; `stale` is an error for every script.
    pub(super) fn of(value: Value) -> Result<Self, StoreError> {
        let Value::Array(fields) = value else {
            return Err(corrupt("a script's answer is no list"));
        };
        let mut fields = fields.into_iter();
        let verdict = text(fields.next().ok_or_else(|| corrupt("a script's answer is empty"))?)?;
        let mut reply = Self { verdict, fields };
        if reply.verdict == "stale" {
            let epoch = reply.text()?;
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
    pub(super) fn all_of(value: Value) -> Result<Vec<Self>, StoreError> {
        let Value::Array(answers) = value else {
            return Err(corrupt("a batch's answer is no list"));
        };
        if !matches!(answers.first(), Some(Value::Array(_)) | None) {
            Self::of(Value::Array(answers))?;
            return Err(corrupt("a batch's answer is no list of answers"));
        }
        answers.into_iter().map(Self::of).collect()
    }

    /// Reads an answer that is a list of words; `stale` is an error for every script.
    pub(super) fn words(value: Value) -> Result<Vec<String>, StoreError> {
        let mut reply = Self::of(value)?;
        let mut words = vec![reply.verdict.clone()];
        while reply.has_more() {
            words.push(reply.text()?);
        }
        Ok(words)
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        bytes(
            self.fields
                .next()
                .ok_or_else(|| corrupt("a script's answer is too short"))?,
        )
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?).map_err(|_| corrupt("a script's answer is not UTF-8"))
    }

    pub(super) fn integer<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        self.text()?
            .parse()
            .map_err(|_| corrupt("a script's answer is no integer"))
    }

    pub(super) fn has_more(&self) -> bool {
        !self.fields.as_slice().is_empty()
    }

    /// Returns the error of a verdict nobody expects.
    pub(super) fn unexpected(&self) -> StoreError {
        corrupt(&format!("a script answered {:?}", self.verdict))
    }
}

fn text(value: Value) -> Result<String, StoreError> {
    String::from_utf8(bytes(value)?).map_err(|_| corrupt("a script's answer is not UTF-8"))
}

fn bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        other => Err(corrupt(&format!("a script's answer holds {other:?}"))),
    }
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}
