//! What the store has to hold, and a difference from it.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::control::OperatorOverrides;
use crate::domain::id::OrderId;
use crate::domain::time::Timestamp;
use crate::store::rebuild::fold::FoldedState;
use crate::store::sums::day::DayRoll;
use crate::store::sums::ledgers::LedgerOwner;

/// What the store has to hold.
#[derive(Debug, Clone, Copy)]
pub struct StoreExpectation<'a> {
    /// The state that the journal's entries make.
    pub state: &'a FoldedState,
    /// What the journal says of state, limits and trading day.
    pub control: &'a ExpectedControl,
    /// When the journal last moved each ledger, as far as that is known: an account that holds nothing is dropped some time
    /// after that.
    pub last_moved: Option<&'a HashMap<LedgerOwner, Timestamp>>,
    /// For how long ended orders are remembered.
    pub retention: Duration,
    /// The present moment, by Redis' clock.
    pub now: Timestamp,
}

/// What the journal's newest events say of state, limits and trading day; `None` where it has no such event.
#[derive(Debug, Clone, Default)]
pub struct ExpectedControl {
    /// The operator state.
    pub state: Option<ExpectedOperatorState>,
    /// The limits.
    pub limits: Option<ExpectedLimits>,
    /// The trading day, and the marks at its start.
    pub day: Option<DayRoll>,
    /// When the journal was created.
    pub journal_created: String,
}

/// The operator state of the journal's newest event.
#[derive(Debug, Clone)]
pub struct ExpectedOperatorState {
    /// The number of changes.
    pub version: u64,
    /// What operators have set.
    pub values: OperatorOverrides,
}

/// The limits of the journal's newest event.
#[derive(Debug, Clone)]
pub struct ExpectedLimits {
    /// The journal sequence of the event.
    pub sequence: u64,
    /// The hash of the limits.
    pub hash: String,
    /// The event's JSON.
    pub document: Bytes,
}

/// What of the store differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorePlace {
    /// The sums of an account, or of all accounts.
    Ledger,
    /// The record of an order, or a set that lists it.
    Order,
    /// The entry of an order that has ended.
    RememberedId,
    /// The record of an adjustment.
    Adjustment,
    /// A lock.
    Lock,
    /// The state that operators set, the limits or the trading day.
    Control,
    /// How far the journal is applied.
    Watermark,
}

/// One difference between the store and the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDifference {
    /// What differs.
    pub place: StorePlace,
    /// Its name: the account, the order's name in the store, the lock id, the adjustment id.
    pub name: String,
    /// The order, where it is one's.
    pub order_id: Option<OrderId>,
    /// The journal sequence that the expected value comes from, where it is one entry's.
    pub sequence: Option<u64>,
    /// The field.
    pub field: String,
    /// What the journal makes it.
    pub expected: String,
    /// What the store holds.
    pub found: String,
    /// A journal sequence that the store names in place of `sequence`: an identical repeat of the same report may be there.
    pub repeated_at: Option<u64>,
}

/// How a value is shown that is not there.
pub(super) const ABSENT: &str = "absent";

impl StoreDifference {
    pub(super) fn new(
        place: StorePlace,
        name: impl Into<String>,
        field: impl Into<String>,
        (expected, found): (impl ToString, impl ToString),
    ) -> Self {
        Self {
            place,
            name: name.into(),
            order_id: None,
            sequence: None,
            field: field.into(),
            expected: expected.to_string(),
            found: found.to_string(),
            repeated_at: None,
        }
    }
}
