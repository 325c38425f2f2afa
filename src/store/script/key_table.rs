//! The keys of one script call, and the parts of commands that refer to them.

use std::collections::HashMap;

use serde::Serialize;

use crate::domain::content_hash::ContentDigest;
use crate::domain::quantity::QuantityUnits;
use crate::domain::settlement::{SumDeltas, SumScope};
use crate::domain::time::TradingDate;
use crate::store::error::StoreError;
use crate::store::keys;

/// Whole units of 1e8 and the rest: the pair that scripts count a number as (`lua/prelude.lua`).
const PAIR_REST: i128 = 100_000_000;

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

    /// Returns whose sums a command moves.
    pub(in crate::store) fn owner(&mut self, scope: &SumScope) -> SumOwner {
        SumOwner(
            self.intern(keys::account_ledger(scope.mode, &scope.account_id)),
            self.intern(keys::total_ledger(scope.mode)),
            self.intern(keys::holding_accounts(scope.mode)),
            keys::holding_name(&scope.venue, &scope.symbol),
        )
    }
}

/// Key indices of the account's ledger, of that of all accounts, and of the accounts that hold something; the holding.
#[derive(Debug, Serialize)]
pub(in crate::store) struct SumOwner(usize, usize, usize, String);

/// A number as scripts count it.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Pair {
    /// Whole units of 1e8.
    pub(in crate::store) whole: i64,
    /// The rest, 0 to 99 999 999.
    pub(in crate::store) rest: i64,
}

impl Pair {
    /// Returns the pair of a number. A number out of range is the greatest pair: every script refuses it.
    pub(in crate::store) fn of(number: QuantityUnits) -> Self {
        let whole = number.div_euclid(PAIR_REST);
        let bound = if whole < 0 { i64::MIN } else { i64::MAX };
        let rest = i64::try_from(number.rem_euclid(PAIR_REST)).unwrap_or(0);
        Self {
            whole: i64::try_from(whole).unwrap_or(bound),
            rest,
        }
    }
}

/// The moves of one event: long, short and position as pairs, then whole numbers, then the days.
#[derive(Debug, Serialize)]
pub(in crate::store) struct EncodedMoves([i64; 15]);

impl EncodedMoves {
    /// The moves of a command that moves nothing.
    pub(in crate::store) const NONE: Self = Self([0; 15]);

    /// Returns the moves of an event whose fills count for `booked_on`.
    pub(in crate::store) fn new(scope: &SumScope, deltas: &SumDeltas, booked_on: TradingDate) -> Self {
        let (long, short, position) = (Pair::of(deltas.long), Pair::of(deltas.short), Pair::of(deltas.position));
        Self([
            long.whole,
            long.rest,
            short.whole,
            short.rest,
            position.whole,
            position.rest,
            deltas.open_orders,
            deltas.cash_flow,
            deltas.fees,
            deltas.open_loss,
            deltas.daily_notional,
            deltas.fill_result,
            deltas.unpriced_fees,
            scope.trading_date.days_since_1970(),
            booked_on.days_since_1970(),
        ])
    }
}

impl std::fmt::Display for EncodedMoves {
    /// Writes the numbers in one text, as an order record stores them.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(i64::to_string).collect();
        formatter.write_str(&numbers.join(" "))
    }
}

/// An order's content: its first and its last 48 bits. Redis' MessagePack reads no bytes; Lua's numbers hold 53 bits.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::store) struct EncodedContent(pub(in crate::store) u64, pub(in crate::store) u64);

impl EncodedContent {
    pub(in crate::store) fn new(digest: ContentDigest) -> Self {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let (first, last) = digest.0.split_at(ContentDigest::LENGTH / 2);
        Self(number(first), number(last))
    }
}

/// Returns a command as MessagePack, as scripts read it: a struct is the list of its fields.
pub(in crate::store) fn to_message_pack<T: Serialize>(command: &T) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec(command).map_err(|error| StoreError::NotExecuted(error.to_string()))
}

/// Returns a command as MessagePack with the names of its fields.
pub(in crate::store) fn to_named_message_pack<T: Serialize>(command: &T) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec_named(command).map_err(|error| StoreError::NotExecuted(error.to_string()))
}
