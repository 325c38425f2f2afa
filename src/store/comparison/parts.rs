//! The parts of the store that are read and compared as a whole.

use redis::{Pipeline, Value};

use crate::domain::id::AdjustmentId;
use crate::domain::order_key::OrderKey;
use crate::store::client::Store;
use crate::store::comparison::moment::StoreMoment;
use crate::store::comparison::types::{StoreDifference, StoreExpectation};
use crate::store::comparison::{adjustments, control, ledgers, locks, orders};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::fold::FoldedState;
use crate::store::rebuild::fold::record::FoldedOrder;
use crate::store::script::decode_value;
use crate::store::sums::ledgers::LedgerOwner;

/// A part of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StorePart {
    /// The sums of an account, or of all accounts.
    Ledger(LedgerOwner),
    /// An order: its record, its remembered id and the sets that list it. With the key of one more set that lists it.
    Order(OrderKey, Option<String>),
    /// The record of an adjustment.
    Adjustment(AdjustmentId),
    /// All locks.
    Locks,
    /// The state that operators set, the limits and the trading day.
    Control,
}

/// A part of the store as it was read.
#[derive(Debug, Clone)]
pub struct PartReading {
    /// The part.
    pub part: StorePart,
    values: Vec<Value>,
    /// Whether the sets were read that list an open order.
    has_sets: bool,
}

impl Store {
    /// Reads parts of the store and what shows how settled it is, all at one moment.
    ///
    /// # Errors
    /// When Redis does not reply, or holds values of another type.
    pub async fn read_parts(
        &self,
        parts: &[StorePart],
        state: &FoldedState,
    ) -> Result<(StoreMoment, Vec<PartReading>), StoreError> {
        let buckets = self.read_bucket_count().await?;
        let mut commands = redis::pipe();
        commands.atomic();
        let own = StoreMoment::add_reads(&mut commands);
        let mut lengths = Vec::with_capacity(parts.len());
        for part in parts {
            lengths.push(part.add_reads(&mut commands, state, buckets));
        }
        let mut values = self.connection.query_pipeline(&commands).await?.into_iter();
        let mut take = |count: usize| -> Vec<Value> { values.by_ref().take(count).collect() };
        let moment = StoreMoment::decode(take(own))?;
        let readings = parts.iter().zip(lengths).map(|(part, length)| PartReading {
            part: part.clone(),
            values: take(length),
            has_sets: part.has_sets(state),
        });
        let readings: Vec<PartReading> = readings.collect();
        if moment.buckets != buckets {
            // The ids were spread again in between: where an entry belongs is another bucket now.
            return Ok((moment.unsettled(), readings));
        }
        Ok((moment, readings))
    }

    /// Returns the number of buckets of remembered ids.
    pub(super) async fn read_bucket_count(&self) -> Result<u64, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(keys::remembered_ids()).arg("buckets");
        let count: Option<u64> = decode_value(self.connection.query(command).await?)?;
        Ok(count.unwrap_or(1).max(1))
    }
}

impl StorePart {
    /// Adds the commands that read the part. Returns how many they are.
    pub(super) fn add_reads(&self, commands: &mut Pipeline, state: &FoldedState, buckets: u64) -> usize {
        match self {
            Self::Ledger(owner) => ledgers::add_reads(commands, owner),
            Self::Order(key, listed_in) => orders::add_reads(commands, *key, listed_in.as_deref(), state, buckets),
            Self::Adjustment(id) => {
                commands.cmd("HGETALL").arg(keys::adjustment(id));
                1
            }
            Self::Locks => {
                commands.cmd("HGETALL").arg(keys::locks());
                commands.cmd("HGETALL").arg(keys::unjournaled_locks());
                2
            }
            Self::Control => control::add_reads(commands),
        }
    }

    /// Reports whether a reading has the sets that list an open order.
    pub(super) fn has_sets(&self, state: &FoldedState) -> bool {
        match self {
            Self::Order(key, _) => state.orders.get(key).is_some_and(FoldedOrder::is_open),
            _ => false,
        }
    }

    pub(super) fn reading(&self, values: Vec<Value>, has_sets: bool) -> PartReading {
        PartReading {
            part: self.clone(),
            values,
            has_sets,
        }
    }
}

/// Returns every difference of a part.
///
/// # Errors
/// When the store holds values of another type.
pub fn differences_of(
    reading: &PartReading,
    expected: &StoreExpectation<'_>,
) -> Result<Vec<StoreDifference>, StoreError> {
    let values = reading.values.clone();
    match &reading.part {
        StorePart::Ledger(owner) => ledgers::compare(owner, values, expected),
        StorePart::Order(key, listed_in) => {
            orders::compare(*key, listed_in.as_deref(), reading.has_sets, values, expected)
        }
        StorePart::Adjustment(id) => adjustments::compare(id, values, expected),
        StorePart::Locks => locks::compare(values, expected),
        StorePart::Control => control::compare(values, expected),
    }
}
