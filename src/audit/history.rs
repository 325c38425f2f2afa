//! What an audit remembers of an order: enough to see a gap, a changed repeat and a wrong row, and the order itself only
//! while it is open.

use std::collections::HashMap;

use crate::audit::entry::{AuditedReport, AuditedSubmission};
use crate::audit::logged_row::FillsDigest;
use crate::domain::claim_state::ClaimState;
use crate::domain::id::OrderId;
use crate::domain::order::Order;
use crate::domain::order_key::{MIN_ID_RETENTION, OrderKey};
use crate::domain::order_terms::OrderStatus;
use crate::domain::time::Timestamp;

/// The most orders that one audit remembers.
pub const MAX_AUDITED_ORDERS: usize = 20_000_000;

/// The most versions that are missing between two of an order; a damaged number must not take all memory.
const MAX_MISSING_VERSIONS: u32 = 10_000;

/// An entry that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeenEntry {
    pub(super) sequence: u64,
    pub(super) digest: u64,
}

/// What is known of an order.
#[derive(Debug, Clone)]
pub(super) struct OrderHistory {
    /// The journal sequence of its first entry.
    pub(super) first_sequence: u64,
    /// The version of the first report that was seen: 1, unless earlier ones are lost.
    pub(super) first_version: u32,
    /// The reports, one a version, from `first_version` on; one of sequence 0 was never seen.
    pub(super) versions: Vec<SeenEntry>,
    /// The submissions and releases.
    pub(super) submissions: Vec<SeenEntry>,
    pub(super) status: Option<OrderStatus>,
    /// When it was submitted, as its first entry has it.
    pub(super) submitted_at: Timestamp,
    /// When the last report changed it.
    pub(super) updated_at: Timestamp,
    /// The claim of the last submission or release that counts.
    pub(super) claim: String,
    /// Whether its last submission was released and no report followed.
    pub(super) is_released: bool,
    /// Whether another order holds its client order id: it does not count.
    pub(super) is_void: bool,
    /// The order after its last entry, while it is open or submitted.
    pub(super) open: Option<Box<Order>>,
    /// The digest of the order log's row.
    pub(super) row_digest: u64,
    /// Its executions, as the order log has them.
    pub(super) fills: FillsDigest,
    /// Whether more fills came at once than a report lists.
    pub(super) has_unlisted_fills: bool,
}

impl Default for OrderHistory {
    fn default() -> Self {
        let never = Timestamp::from_milliseconds(0);
        Self {
            first_sequence: 0,
            first_version: 0,
            versions: Vec::new(),
            submissions: Vec::new(),
            status: None,
            submitted_at: never,
            updated_at: never,
            claim: String::new(),
            is_released: false,
            is_void: false,
            open: None,
            row_digest: 0,
            fills: FillsDigest::default(),
            has_unlisted_fills: false,
        }
    }
}

impl OrderHistory {
    /// Returns the version of its last report; 0 before the first.
    pub(super) fn version(&self) -> u32 {
        let count = u32::try_from(self.versions.len()).unwrap_or(u32::MAX);
        match count {
            0 => 0,
            count => self.first_version.saturating_add(count).saturating_sub(1),
        }
    }

    /// Returns the report of a version.
    pub(super) fn report(&self, version: u32) -> Option<SeenEntry> {
        let at = version.checked_sub(self.first_version)?;
        let seen = self.versions.get(usize::try_from(at).ok()?).copied();
        seen.filter(|seen| seen.sequence > 0)
    }

    /// Returns the last report.
    pub(super) fn last_report(&self) -> Option<SeenEntry> {
        self.versions.last().copied()
    }

    /// Records the next report; `follows` says whether its version is the next one.
    pub(super) fn record_version(&mut self, audited: &AuditedReport, seen: SeenEntry, follows: bool) {
        let (order, last) = (&audited.order, self.version());
        if self.versions.is_empty() {
            self.first_version = order.version;
        } else if !follows {
            let missing = order.version.saturating_sub(last).saturating_sub(1);
            let unseen = SeenEntry { sequence: 0, digest: 0 };
            self.versions
                .extend(std::iter::repeat_n(unseen, missing.min(MAX_MISSING_VERSIONS) as usize));
        }
        self.versions.push(seen);
        if self.first_sequence == 0 {
            (self.first_sequence, self.submitted_at) = (seen.sequence, order.submitted_at);
        }
        let new = audited.report.fills_total.saturating_sub(self.fills.count);
        let new = usize::try_from(new).unwrap_or(usize::MAX);
        let listed = &audited.report.fills;
        self.has_unlisted_fills |= new > listed.len();
        for fill in listed.iter().skip(listed.len().saturating_sub(new)) {
            self.fills.add(fill);
        }
        self.status = order.status;
        self.updated_at = order.updated_at;
        self.is_released = false;
        self.row_digest = audited.row_digest;
        self.open = (!order.is_terminal()).then(|| Box::new(order.clone()));
    }

    /// Reports whether a submission, or a release, changes what is known.
    pub(super) fn is_changed_by(&self, audited: &AuditedSubmission) -> bool {
        let state = |claim, is_released| ClaimState { claim, is_released };
        let known = state(&self.claim, self.is_released);
        self.first_sequence == 0 || known.is_changed_by(&state(&audited.claim, audited.is_released))
    }

    /// Reports whether an order that was submitted at this moment may use its client order id again.
    fn frees_its_id_at(&self, submitted_at: Timestamp) -> bool {
        let has_ended = self.status.is_some_and(OrderStatus::is_terminal);
        self.is_released || has_ended && submitted_at >= self.updated_at.saturating_add(MIN_ID_RETENTION)
    }
}

/// The orders of a journal.
#[derive(Debug, Default)]
pub(super) struct OrderHistories {
    pub(super) by_id: HashMap<OrderId, OrderHistory>,
    /// The order that holds each client order id, or held it last.
    holders: HashMap<OrderKey, OrderId>,
}

impl OrderHistories {
    /// Returns the other order that holds the client order id of one.
    pub(super) fn find_holder(&self, order: &Order) -> Option<(&OrderId, &OrderHistory)> {
        let holder = self.holders.get(&order.key()).filter(|id| **id != order.order_id)?;
        let history = self.by_id.get(holder)?;
        (!history.frees_its_id_at(order.submitted_at)).then_some((holder, history))
    }

    /// Makes an order the holder of its client order id.
    pub(super) fn hold(&mut self, order: &Order) {
        self.holders.insert(order.key(), order.order_id.clone());
    }

    /// Returns the orders and how many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
