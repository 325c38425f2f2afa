//! The shared state as the journal's entries make it, folded in memory. It means what the replay scripts do in an empty
//! store (`lua/replay.lua`, `lua/replay_submission.lua`, `lua/adjustment_replay.lua`): entries come once, in the journal's
//! order; of two orders for one id the first counts, each version counts once.

mod document;
pub mod encoding;
pub mod record;
pub mod remembered;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;

use crate::domain::claim_state::ClaimState;
use crate::domain::id::{AccountId, AdjustmentId, OrderId};
use crate::domain::order::Order;
use crate::domain::order_key::{MIN_ID_RETENTION, OrderKey};
use crate::domain::settlement::{SumDeltas, SumScope};
use crate::domain::settlement_end::SettlementEnd;
use crate::domain::sum_ledger::{SumLedger, SumMoves};
use crate::domain::time::Timestamp;
use crate::store::control::dead_man_switches::JournaledSwitchEvent;
use crate::store::control::locks::JournaledLockEvent;
use crate::store::orders::record::RecordStage;
use crate::store::rebuild::fold::record::{FoldedAdjustment, FoldedOrder, FoldedStage, OpenPart, SendingPart};
use crate::store::rebuild::fold::remembered::{RememberedFields, RememberedId};
use crate::store::rebuild::orders::{OrderReplay, record_stage};
use crate::store::rebuild::submissions::SubmissionReplay;
use crate::store::sums::adjustment::AdjustmentBooking;
use crate::store::sums::ledgers::LedgerOwner;

/// How many days after its last daily sums a flat account is dropped: a day's results count until that day has ended
/// everywhere.
const FLAT_ACCOUNT_DAYS: i64 = 2;
/// How long an id is remembered beyond its retention: the journal may hold an event twice, and the second must find that
/// the first was folded.
const RETENTION_MARGIN: Duration = Duration::from_secs(60 * 60);

/// The shared state in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoldedState {
    /// The ledgers of accounts and of all accounts.
    pub ledgers: HashMap<LedgerOwner, SumLedger>,
    /// The orders that are open or being sent, and those that were released.
    pub orders: HashMap<OrderKey, FoldedOrder>,
    /// The orders that have ended. Of one that was reopened the entry stays, and its record goes before it.
    pub remembered: HashMap<OrderKey, RememberedId>,
    /// The ids of those whose key is no part of their order id.
    pub foreign_ids: HashMap<OrderKey, OrderId>,
    /// The adjustments that are remembered.
    pub adjustments: HashMap<AdjustmentId, FoldedAdjustment>,
    /// The locks in force: the journal's event by lock id.
    pub locks: BTreeMap<String, Bytes>,
    /// The armed dead man's switches: the time in milliseconds and the journal's event, by account.
    pub switches: BTreeMap<AccountId, (u64, Bytes)>,
    /// How far the journal is folded.
    pub progress: FoldProgress,
}

/// How far a journal is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FoldProgress {
    /// The sequence of the last entry that was folded or passed over.
    pub sequence: u64,
    /// The sequence of the last entry of an order or an adjustment: the store's watermark.
    pub watermark: u64,
    /// The sequence of the last lock event.
    pub lock_watermark: u64,
    /// The sequence of the last event of a dead man's switch.
    pub switch_watermark: u64,
    /// The newest epoch among the entries.
    pub newest_epoch: i64,
    /// Whether entries were missing whose loss an operator accepted.
    pub has_lost_entries: bool,
}

/// What is known of a report beside its event.
#[derive(Debug, Clone, Copy)]
pub struct ReportContext {
    /// When the stream stored it.
    pub stored_at: Timestamp,
    /// For how long its order is remembered once it has ended.
    pub retention: Duration,
    /// Whether the order lives at a venue outside the store.
    pub is_at_venue: bool,
}

/// What is known of a key.
struct KnownEvents {
    order_id: OrderId,
    /// The version of its latest report; 0 before the first.
    version: u32,
    /// The settlement that made that version.
    settlement: SettlementEnd,
    sequence: u64,
    first_sequence: u64,
    is_released: bool,
    /// When the id may be dropped; `None` while the order has not ended.
    remembered_until: Option<Timestamp>,
}

impl KnownEvents {
    /// Reports whether another order uses the client order id again, after the retention of this one: no id is free
    /// earlier, so that two orders for one id lie closer together.
    fn frees_its_id_for(&self, order: &Order, retention: Duration) -> bool {
        self.order_id != order.order_id
            && self.remembered_until.is_some_and(|until| {
                order.submitted_at.saturating_add(retention) >= until.saturating_add(MIN_ID_RETENTION)
            })
    }
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldedReport {
    /// It counts.
    Applied,
    /// It was folded before, or another order of its id came first.
    Ignored,
    /// It counts in place of this order of the same id, which was only submitted.
    ReplacesSubmission(OrderId),
    /// It builds on another effect than the order's last one here, and does not count.
    BuildsOnVoid,
    /// This order of the same id was submitted to a venue, and both may be there: the report does not count.
    ConflictsWithSubmission(OrderId),
}

/// What a report has to count from where the versions before it are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LostVersions {
    /// No version is lost.
    None,
    /// Nothing of the order is known: it counts from nothing.
    All,
    /// This version is known, and later ones are lost.
    After {
        /// The journal sequence of the known version.
        sequence: u64,
        /// Its document, where it is at hand.
        document: Option<Bytes>,
    },
}

impl FoldedState {
    /// Folds a report.
    pub fn apply_report(&mut self, event: &OrderReplay, context: &ReportContext) -> FoldedReport {
        self.pass(event.sequence);
        let order = &event.order;
        let key = order.key();
        let (mut deltas, mut earlier_days) = (event.deltas, event.earlier_days.clone());
        let (mut first_sequence, mut version) = (0, 0);
        let mut outcome = FoldedReport::Applied;
        if let Some(known) = self
            .find(&key)
            .filter(|known| !known.frees_its_id_for(order, context.retention))
        {
            if known.order_id != order.order_id && !known.is_released {
                if known.version > 0 {
                    return FoldedReport::Ignored;
                }
                if context.is_at_venue {
                    return FoldedReport::ConflictsWithSubmission(known.order_id);
                }
                outcome = FoldedReport::ReplacesSubmission(known.order_id);
                // Only submitted, and an order that has a report stands in its place: it counts from nothing.
                self.undo_reservation(&key, None);
                if let Some(whole) = event.from_nothing() {
                    (deltas, earlier_days) = (whole.deltas, whole.earlier_days);
                }
            } else if order.version <= known.version {
                return FoldedReport::Ignored;
            } else if known.version > 0 && !known.settlement.is_base_of(order.builds_on) {
                return FoldedReport::BuildsOnVoid;
            } else {
                (first_sequence, version) = (known.first_sequence, known.version);
            }
        }
        let scope = order.sum_scope();
        if version == 0 {
            // The first report states its moves from nothing: what the submission reserved is released.
            self.undo_reservation(&key, Some(&scope));
        }
        for day in earlier_days {
            self.move_sums(&scope, day.deltas, day.booked_on.days_since_1970());
        }
        if deltas != SumDeltas::default() {
            self.move_sums(&scope, deltas, event.booked_on.days_since_1970());
        }
        let first_sequence = if first_sequence == 0 {
            event.sequence
        } else {
            first_sequence
        };
        self.insert_report(key, event, context, first_sequence);
        outcome
    }

    fn insert_report(&mut self, key: OrderKey, event: &OrderReplay, context: &ReportContext, first_sequence: u64) {
        let order = &event.order;
        let stage = record_stage(order);
        if stage == RecordStage::Open {
            let open = OpenPart {
                document: event.document.clone(),
                broker: order.broker.clone(),
                account_id: order.account_id.clone(),
                due_at: order.due.map(|due| due.at),
            };
            let folded = FoldedOrder {
                order_id: order.order_id.clone(),
                content: order.content_hash.digest(),
                version: order.version,
                settlement: SettlementEnd::of(order.settlement_id),
                sequence: event.sequence,
                first_sequence,
                since: order.updated_at.max(context.stored_at),
                stage: FoldedStage::Open(Box::new(open)),
            };
            self.orders.insert(key, folded);
            return;
        }
        let own_id = Some(&order.order_id).filter(|id| OrderKey::of_order_id(id) == Some(key));
        let remembered = RememberedId::new(&RememberedFields {
            remembered_until: order
                .updated_at
                .max(context.stored_at)
                .saturating_add(context.retention),
            is_denied: stage == RecordStage::Denied,
            order_id: own_id,
            content: order.content_hash.digest(),
            version: order.version,
            sequence: event.sequence,
            first_sequence,
            settlement_id: order.settlement_id,
        });
        if own_id.is_some() {
            self.foreign_ids.remove(&key);
        } else {
            self.foreign_ids.insert(key, order.order_id.clone());
        }
        self.orders.remove(&key);
        self.remembered.insert(key, remembered);
    }

    /// Returns what is known of a key.
    fn find(&self, key: &OrderKey) -> Option<KnownEvents> {
        if let Some(order) = self.orders.get(key) {
            return Some(KnownEvents {
                order_id: order.order_id.clone(),
                version: order.version,
                settlement: order.settlement,
                sequence: order.sequence,
                first_sequence: order.first_sequence,
                is_released: matches!(order.stage, FoldedStage::Released(_)),
                remembered_until: None,
            });
        }
        let remembered = self.remembered.get(key)?;
        let foreign = self.foreign_ids.get(key).cloned();
        Some(KnownEvents {
            order_id: foreign.or_else(|| remembered.order_id(*key))?,
            version: remembered.version(),
            settlement: remembered.settlement_end(),
            sequence: remembered.sequence(),
            first_sequence: remembered.first_sequence(),
            is_released: false,
            remembered_until: Some(remembered.remembered_until()),
        })
    }

    /// Returns what a report has to count from, where entries of the journal are lost.
    pub fn find_lost_versions(&self, order: &Order) -> LostVersions {
        if !self.progress.has_lost_entries || order.version <= 1 {
            return LostVersions::None;
        }
        let key = order.key();
        let known = self.find(&key);
        match known.filter(|known| known.order_id == order.order_id && known.version > 0) {
            None => LostVersions::All,
            Some(known) if known.version + 1 >= order.version => LostVersions::None,
            Some(known) => LostVersions::After {
                sequence: known.sequence,
                document: self.orders.get(&key).and_then(FoldedOrder::document),
            },
        }
    }

    /// Undoes all that an order has moved up to its known version, each part on its day: its next report counts from
    /// nothing. Returns `None` where a sum leaves the exact range.
    pub fn undo_known_versions(&mut self, known: &Order) -> Option<()> {
        let scope = known.sum_scope();
        for day in known.deltas_by_day()? {
            self.move_sums(&scope, day.deltas.reversed(), day.booked_on.days_since_1970());
        }
        Some(())
    }

    /// Folds a submission, or the release that undoes one; `retention` is how long ended orders are remembered. Returns whether it changed anything.
    pub fn apply_submission(&mut self, event: &SubmissionReplay, stored_at: Timestamp, retention: Duration) -> bool {
        self.pass(event.sequence);
        let order = &event.order;
        let key = order.key();
        let is_new = match self.orders.get(&key) {
            None => (self.find(&key)).is_none_or(|known| known.frees_its_id_for(order, retention)),
            Some(known) => is_changed_by(known, event),
        };
        if !is_new {
            return false;
        }
        let scope = order.sum_scope();
        self.undo_reservation(&key, Some(&scope));
        let stage = if event.is_released {
            FoldedStage::Released(event.claim_token.clone())
        } else {
            self.move_sums(&scope, event.reserved, scope.trading_date.days_since_1970());
            FoldedStage::Sending(Box::new(SendingPart {
                open: OpenPart {
                    document: event.document.clone().into(),
                    broker: order.broker.clone(),
                    account_id: order.account_id.clone(),
                    due_at: None,
                },
                claim_token: event.claim_token.clone(),
                scope,
                reserved: event.reserved,
            }))
        };
        let folded = FoldedOrder {
            order_id: order.order_id.clone(),
            content: order.content_hash.digest(),
            version: 0,
            settlement: SettlementEnd::default(),
            sequence: event.sequence,
            first_sequence: 0,
            since: order.updated_at.max(stored_at),
            stage,
        };
        self.orders.insert(key, folded);
        true
    }

    /// Folds an adjustment. Returns whether it changed anything: of two events for one id the first counts.
    pub fn apply_adjustment(&mut self, booking: &AdjustmentBooking, sequence: u64, stored_at: Timestamp) -> bool {
        self.pass(sequence);
        if self.adjustments.contains_key(&booking.adjustment_id) {
            return false;
        }
        if let Some((scope, deltas)) = booking.moves() {
            self.move_sums(&scope, deltas, scope.trading_date.days_since_1970());
        }
        let folded = FoldedAdjustment {
            content_hash: booking.content_hash.clone(),
            document: booking.event_document.clone(),
            sequence,
            since: booking.created_at.max(stored_at),
        };
        self.adjustments.insert(booking.adjustment_id.clone(), folded);
        true
    }

    /// Folds the event of a lock.
    pub fn apply_lock(&mut self, event: JournaledLockEvent, sequence: u64) {
        self.progress.lock_watermark = sequence;
        if event.is_set {
            self.locks.insert(event.lock_id, event.document);
        } else {
            self.locks.remove(&event.lock_id);
        }
    }

    /// Folds the event of a dead man's switch.
    pub fn apply_switch(&mut self, event: JournaledSwitchEvent, sequence: u64) {
        self.progress.switch_watermark = sequence;
        match event.armed_ms {
            Some(timeout_ms) => _ = self.switches.insert(event.account_id, (timeout_ms, event.document)),
            None => _ = self.switches.remove(&event.account_id),
        }
    }

    /// Drops what no one asks about any more: remembered ids beyond their retention, and flat accounts whose days have
    /// ended.
    pub fn prune(&mut self, now: Timestamp, retention: Duration) {
        let kept_for = retention.saturating_add(RETENTION_MARGIN);
        let is_kept = |since: Timestamp| since.saturating_add(kept_for) > now;
        self.orders.retain(|_, order| order.is_open() || is_kept(order.since));
        let remembered = &mut self.remembered;
        remembered.retain(|_, id| id.remembered_until().saturating_add(RETENTION_MARGIN) > now);
        self.foreign_ids.retain(|key, _| remembered.contains_key(key));
        self.adjustments.retain(|_, adjustment| is_kept(adjustment.since));
        let today = now.utc_date().days_since_1970();
        self.ledgers.retain(|owner, ledger| {
            matches!(owner, LedgerOwner::Total(_))
                || ledger.is_kept()
                || ledger.latest_day() + FLAT_ACCOUNT_DAYS >= today
        });
    }

    /// Moves the watermark past an entry.
    fn pass(&mut self, sequence: u64) {
        self.progress.watermark = self.progress.watermark.max(sequence);
    }

    /// Releases what an order reserves by its submission, in the sums of `scope`, or in those of its own submission.
    fn undo_reservation(&mut self, key: &OrderKey, scope: Option<&SumScope>) {
        let Some(FoldedStage::Sending(sending)) = self.orders.get(key).map(|order| &order.stage) else {
            return;
        };
        let reserved_on = sending.scope.trading_date;
        let scope = SumScope {
            trading_date: reserved_on,
            ..scope.unwrap_or(&sending.scope).clone()
        };
        let reserved = sending.reserved.reversed();
        self.orders.remove(key);
        self.move_sums(&scope, reserved, reserved_on.days_since_1970());
    }

    fn move_sums(&mut self, scope: &SumScope, deltas: SumDeltas, day: i64) {
        let moves = SumMoves {
            deltas,
            notional_day: scope.trading_date.days_since_1970(),
            day,
        };
        let account = LedgerOwner::Account(scope.mode, scope.account_id.clone());
        for owner in [account, LedgerOwner::Total(scope.mode)] {
            let instrument = (scope.venue.clone(), scope.symbol.clone());
            self.ledgers.entry(owner).or_default().apply(instrument, &moves);
        }
    }
}

/// Reports whether a submission, or a release, changes what is known of its id: a report says more than it, and an order that
/// came first goes before it.
fn is_changed_by(known: &FoldedOrder, event: &SubmissionReplay) -> bool {
    let is_released = matches!(known.stage, FoldedStage::Released(_));
    if known.order_id != event.order.order_id {
        return is_released && !event.is_released;
    }
    let Some(claim) = known.claim_token() else { return false };
    let (claim, next) = (claim.as_str(), event.claim_token.as_str());
    let next = ClaimState {
        claim: next,
        is_released: event.is_released,
    };
    ClaimState { claim, is_released }.is_changed_by(&next) && (!is_released || known.sequence < event.sequence)
}
