//! The keys of one script call, and the moves of shared sums that refer to them.

use std::collections::HashMap;

use serde::Serialize;

use crate::domain::settlement::{SharedSum, SumDeltas, SumScope};
use crate::store::error::StoreError;
use crate::store::keys;

/// The keys of one call, each listed once. Commands refer to a key by its index, counted from 1 as in Lua.
#[derive(Debug)]
pub(in crate::store) struct KeyTable {
    keys: Vec<String>,
    indices: HashMap<String, usize>,
}

impl KeyTable {
    /// Creates a table that starts with the keys that a script expects at fixed positions.
    pub(in crate::store) fn new(fixed: Vec<String>) -> Self {
        let indices = fixed
            .iter()
            .enumerate()
            .map(|(at, key)| (key.clone(), at + 1))
            .collect();
        Self { keys: fixed, indices }
    }

    /// Adds a key that only one command of the call uses, without searching the table, and returns its index. A key that
    /// is added twice has two indices, which makes no difference to a script.
    pub(in crate::store) fn add_unshared(&mut self, key: String) -> usize {
        self.keys.push(key);
        self.keys.len()
    }

    /// Returns the index of a key that several commands use; adds it where it is missing.
    pub(in crate::store) fn intern(&mut self, key: String) -> usize {
        if let Some(index) = self.indices.get(&key) {
            return *index;
        }
        self.keys.push(key.clone());
        self.indices.insert(key, self.keys.len());
        self.keys.len()
    }

    pub(in crate::store) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Returns the moves of an order's sums as scripts read them; deltas of zero are left out.
    pub(in crate::store) fn encode_moves(&mut self, scope: &SumScope, deltas: &SumDeltas) -> Vec<CounterMove> {
        nonzero_moves(scope, deltas)
            .map(|(key, field, delta, is_daily)| CounterMove(self.intern(key), field, delta, is_daily))
            .collect()
    }

    /// Returns the moves of an order's sums as JSON with the names of their keys, as an order record stores them.
    pub(in crate::store) fn encode_named_moves(scope: &SumScope, deltas: &SumDeltas) -> Result<String, StoreError> {
        to_json(&nonzero_moves(scope, deltas).collect::<Vec<_>>())
    }
}

/// Key index, field, delta, whether the counter is a day's.
#[derive(Debug, Serialize)]
pub(in crate::store) struct CounterMove(usize, &'static str, i64, bool);

/// Returns key, field, delta and whether the counter is a day's, for every sum that changes.
fn nonzero_moves(scope: &SumScope, deltas: &SumDeltas) -> impl Iterator<Item = (String, &'static str, i64, bool)> {
    let moved = SharedSum::ALL.into_iter().filter(|sum| deltas.get(*sum) != 0);
    moved.map(|sum| {
        let (key, field) = keys::counter_location(scope, sum);
        (key, field, deltas.get(sum), sum.is_daily())
    })
}

/// Returns a command as JSON, as scripts read it.
pub(in crate::store) fn to_json<T: Serialize>(command: &T) -> Result<String, StoreError> {
    serde_json::to_string(command).map_err(|error| StoreError::NotExecuted(error.to_string()))
}
