//! The projection: turns journal entries into rows, each entry once and in the journal's order, also when it is redelivered.
//!
//! The rules are those of every consumer of the journal: an order's highest version counts; of two orders for one client
//! order id, and of two reports of one version, the first counts, and what builds on the other does not; an order that is
//! known only by its submission is `unknown`.

use rusqlite::Connection;

use crate::domain::claim_state::ClaimState;
use crate::domain::decimal::Decimal;
use crate::domain::order_key::MIN_ID_RETENTION;
use crate::domain::order_terms::{Mode, OrderStatus};
use crate::domain::settlement_end::SettlementEnd;
use crate::domain::time::Timestamp;
use crate::order_log::index::{IndexChange, MAX_ROWS};
use crate::order_log::ingest::entry::{LoggedReport, LoggedSubmission, OrderLogEvent, StreamEntry};
use crate::order_log::ingest::position_ledger::PositionLedger;
use crate::order_log::tables::executions::ExecutionRow;
use crate::order_log::tables::orders::{OrderRow, ProjectedOrder};
use crate::order_log::tables::tags::TagStore;
use crate::order_log::tables::{executions, orders, router_state, skipped};
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::note::NoteEvent;
use crate::wire::report::ReportedFill;

/// An execution's id is the sequence of its entry times this, plus its index there.
const EXECUTION_IDS_PER_ENTRY: u64 = 4_096;

/// The most bytes of an order's notes; a note that would exceed them is dropped.
pub const MAX_NOTES_BYTES: usize = 8_192;
/// The most tags of an order, those added with notes included; further tags are dropped.
pub const MAX_ORDER_TAGS: usize = 64;

/// Applies entries within one transaction, and collects what they change in the index.
pub(in crate::order_log) struct Projection<'a> {
    /// The connection, in the transaction.
    pub(in crate::order_log) connection: &'a Connection,
    /// The tags.
    pub(in crate::order_log) tags: &'a mut TagStore,
    /// The positions.
    pub(in crate::order_log) positions: &'a mut PositionLedger,
    /// How many orders there are, those of this transaction included.
    pub(in crate::order_log) order_count: u32,
    /// How many executions there are, those of this transaction included.
    pub(in crate::order_log) execution_count: u32,
    /// What changes in the index with the commit.
    pub(in crate::order_log) index_changes: Vec<IndexChange>,
    /// Whether an entry was skipped.
    pub(in crate::order_log) has_skipped_entries: bool,
}

impl Projection<'_> {
    /// Applies an entry of the journal.
    ///
    /// # Errors
    /// Any error of SQLite; `SQLITE_FULL` when the log has [`MAX_ROWS`] orders or executions.
    pub(in crate::order_log) fn apply(&mut self, entry: &StreamEntry) -> rusqlite::Result<()> {
        match &entry.event {
            OrderLogEvent::Report(report) => self.apply_report(entry, report),
            OrderLogEvent::Submitting(submission) => self.apply_submitting(entry, submission),
            OrderLogEvent::Released(submission) => self.apply_released(entry, submission),
            OrderLogEvent::Adjustment(event) => self.apply_adjustment(event),
            OrderLogEvent::Note(event) => self.apply_note(event),
            OrderLogEvent::StateChange { version, mode } => router_state::save(self.connection, *version, *mode),
            OrderLogEvent::Alert(..) | OrderLogEvent::Ignored => Ok(()),
            OrderLogEvent::Unreadable(reason) => self.record_skipped(entry.sequence, reason),
        }
    }

    /// Records a skipped entry. Another version of the program, which may be able to read it, rebuilds the log.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn record_skipped(&mut self, sequence: u64, reason: &str) -> rusqlite::Result<()> {
        tracing::error!(sequence, reason, "the order log skips an entry of the journal");
        self.has_skipped_entries = true;
        skipped::insert(self.connection, sequence, reason)
    }

    fn apply_report(&mut self, entry: &StreamEntry, report: &LoggedReport) -> rusqlite::Result<()> {
        let known = match orders::find(self.connection, &report.order_id)? {
            Some(known) if report.version <= known.version => return Ok(()),
            Some(known) if self.builds_on_void(report, &known)? => {
                tracing::warn!(
                    order_id = report.order_id,
                    version = report.version,
                    sequence = entry.sequence,
                    "ignoring an effect: it builds on another one than the first of its version on the journal"
                );
                return Ok(());
            }
            Some(known) => {
                self.update_order(entry, report, &known)?;
                known
            }
            None => match self.insert_order(entry, report, report.status, None)? {
                Some(known) => known,
                None => return Ok(()),
            },
        };
        self.insert_executions(entry, report, &known)
    }

    /// Returns whether a report builds on another effect than the last one of its order. Where entries are missing, the version
    /// before may be among them.
    fn builds_on_void(&self, report: &LoggedReport, known: &ProjectedOrder) -> rusqlite::Result<bool> {
        if known.version == 0 || known.settlement.is_base_of(report.builds_on()) {
            return Ok(false);
        }
        Ok(report.version == known.version + 1 || skipped::count(self.connection)? == 0)
    }

    /// Applies a submission.
    fn apply_submitting(&mut self, entry: &StreamEntry, submission: &LoggedSubmission) -> rusqlite::Result<()> {
        let (order, claim) = (&submission.order, Some(submission.claim.as_str()));
        let Some(known) = orders::find(self.connection, &order.order_id)? else {
            self.insert_order(entry, order, OrderStatus::Unknown, claim)?;
            return Ok(());
        };
        if !is_changed_by(&known, submission, false) || self.is_void_duplicate(order)? {
            return Ok(());
        }
        orders::mark_submitted(self.connection, known.ordinal, claim)?;
        self.record_status_change(known.ordinal, known.listed_status(), Some(known.status));
        Ok(())
    }

    /// Applies the release of a claim. One that comes before its submission is kept too: the submission then has no effect.
    fn apply_released(&mut self, entry: &StreamEntry, submission: &LoggedSubmission) -> rusqlite::Result<()> {
        let (order, claim) = (&submission.order, Some(submission.claim.as_str()));
        let known = match orders::find(self.connection, &order.order_id)? {
            Some(known) if is_changed_by(&known, submission, true) => known,
            Some(_) => return Ok(()),
            None => match self.insert_order(entry, order, OrderStatus::Unknown, claim)? {
                Some(known) => known,
                None => return Ok(()),
            },
        };
        orders::mark_released(self.connection, known.ordinal, claim)?;
        self.record_status_change(known.ordinal, known.listed_status(), None);
        Ok(())
    }

    /// Adds an order; returns `None` for a void one, whose client order id another order holds.
    fn insert_order(
        &mut self,
        entry: &StreamEntry,
        report: &LoggedReport,
        status: OrderStatus,
        claim: Option<&str>,
    ) -> rusqlite::Result<Option<ProjectedOrder>> {
        if self.is_void_duplicate(report)? {
            tracing::warn!(
                order_id = report.order_id,
                client_order_id = report.client_order_id,
                sequence = entry.sequence,
                "ignoring an order: an earlier one on the journal holds its client order id"
            );
            return Ok(None);
        }
        let ordinal = self.order_count;
        if ordinal >= MAX_ROWS {
            return Err(capacity_error());
        }
        let row = OrderRow {
            ordinal,
            sequence: entry.sequence,
            stored_at: entry.stored_at,
            status,
            claim,
            report,
        };
        orders::insert(self.connection, &row)?;
        self.order_count += 1;
        self.index_changes.push(IndexChange::OrderAdded {
            id: entry.sequence,
            account_id: report.account_id.clone(),
            symbol: report.symbol.clone(),
            broker: report.broker.clone(),
            side: report.side,
            submitted_at: report.submitted_at.as_microseconds(),
            updated_at: report.updated_at.as_microseconds(),
            status: Some(status),
        });
        for tag in &report.tags {
            self.add_tag(ordinal, tag)?;
        }
        Ok(Some(ProjectedOrder {
            ordinal,
            version: 0,
            settlement: SettlementEnd::default(),
            status,
            is_released: false,
            claim: None,
            fills_total: 0,
            filled_quantity: "0".to_owned(),
            noted_at: None,
        }))
    }

    /// Returns whether another order holds the client order id of a new one.
    fn is_void_duplicate(&self, report: &LoggedReport) -> rusqlite::Result<bool> {
        let is_dry_run = report.mode == Mode::DryRun;
        let holder = orders::find_client_order_id_holder(self.connection, report, is_dry_run)?;
        Ok(holder.filter(|holder| !holder.is_released).is_some_and(|holder| {
            let is_free_at = holder.reported_at.saturating_add(MIN_ID_RETENTION);
            !(holder.status.is_terminal() && report.submitted_at >= is_free_at)
        }))
    }

    fn update_order(
        &mut self,
        entry: &StreamEntry,
        report: &LoggedReport,
        known: &ProjectedOrder,
    ) -> rusqlite::Result<()> {
        let row = OrderRow {
            ordinal: known.ordinal,
            sequence: entry.sequence,
            stored_at: entry.stored_at,
            status: report.status,
            claim: None,
            report,
        };
        orders::update(self.connection, &row)?;
        self.record_status_change(known.ordinal, known.listed_status(), Some(report.status));
        self.record_update(known.ordinal, orders::updated_at(report.updated_at, known.noted_at));
        Ok(())
    }

    fn record_update(&mut self, ordinal: u32, updated_at: Timestamp) {
        self.index_changes.push(IndexChange::OrderUpdated {
            ordinal,
            updated_at: updated_at.as_microseconds(),
        });
    }

    fn record_status_change(&mut self, ordinal: u32, from: Option<OrderStatus>, to: Option<OrderStatus>) {
        if from != to {
            self.index_changes
                .push(IndexChange::StatusChanged { ordinal, from, to });
        }
    }

    /// Adds the fills of a report that the last report did not have.
    fn insert_executions(
        &mut self,
        entry: &StreamEntry,
        report: &LoggedReport,
        known: &ProjectedOrder,
    ) -> rusqlite::Result<()> {
        let new = usize::try_from(report.fills_total.saturating_sub(known.fills_total)).unwrap_or(usize::MAX);
        let mut fills: Vec<&ReportedFill> = report
            .fills
            .iter()
            .skip(report.fills.len().saturating_sub(new))
            .collect();
        if new > fills.len() || !fills_add_up(report, known, &fills) {
            // The report does not follow the last one directly: an entry between them was void, or there were more fills
            // than one report holds.
            fills = executions::select_unrecorded(self.connection, known.ordinal, &report.fills)?;
            if !fills_add_up(report, known, &fills) {
                // The missing fills were never reported one by one: the position cannot be counted exactly.
                self.positions.mark_inexact(self.connection, report)?;
            }
        }
        let first_id = entry.sequence.saturating_mul(EXECUTION_IDS_PER_ENTRY);
        for (index, fill) in (0_u64..).zip(fills) {
            let ordinal = self.execution_count;
            if ordinal >= MAX_ROWS {
                return Err(capacity_error());
            }
            let row = ExecutionRow {
                ordinal,
                id: first_id.saturating_add(index),
                order_ordinal: known.ordinal,
                stored_at: entry.stored_at,
                fill,
            };
            executions::insert(self.connection, &row)?;
            self.execution_count += 1;
            self.index_changes.push(IndexChange::ExecutionAdded {
                order_ordinal: known.ordinal,
                executed_at: fill.timestamp.as_microseconds(),
            });
            self.positions.apply_fill(self.connection, report, fill)?;
        }
        self.positions.apply_fees(self.connection, report)
    }

    /// Adds a tag to an order; tags are matched in lower case.
    fn add_tag(&mut self, ordinal: u32, tag: &str) -> rusqlite::Result<()> {
        let text = tag.to_lowercase();
        if let Some(change) = self.tags.add_tag(self.connection, &text, ordinal)? {
            self.index_changes.push(change);
        }
        Ok(())
    }

    /// Adds a note to its order, once: its text as a line, and the tags that the order does not have in any case.
    fn apply_note(&mut self, event: &NoteEvent) -> rusqlite::Result<()> {
        let Some(mut order) = orders::find_annotations(self.connection, &event.order_id, &event.account_id)? else {
            return Ok(());
        };
        let mut remember = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO notes (note_id) VALUES (?1)")?;
        if remember.execute([event.note_id.to_string()])? == 0 {
            return Ok(());
        }
        let length = order.notes.as_ref().map_or(0, String::len);
        let added = event.notes.clone().filter(|text| length + text.len() < MAX_NOTES_BYTES);
        let notes: Vec<String> = order.notes.take().into_iter().chain(added).collect();
        order.notes = (!notes.is_empty()).then(|| notes.join("\n"));
        for tag in &event.tags {
            let is_known = order
                .tags
                .iter()
                .any(|known| known.to_lowercase() == tag.to_lowercase());
            if is_known || order.tags.len() >= MAX_ORDER_TAGS {
                continue;
            }
            order.tags.push(tag.clone());
            self.add_tag(order.ordinal, tag)?;
        }
        // An older note does not set the time back.
        order.noted_at = order.noted_at.max(Some(event.timestamp));
        self.record_update(order.ordinal, orders::updated_at(order.reported_at, order.noted_at));
        orders::update_annotations(self.connection, &order)
    }

    /// Books an adjustment of a position; of two events with one id the first counts.
    fn apply_adjustment(&mut self, event: &AdjustmentEvent) -> rusqlite::Result<()> {
        let mut remember = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO adjustments (adjustment_id) VALUES (?1)")?;
        if remember.execute([&event.adjustment_id])? == 0 {
            return Ok(());
        }
        self.positions.apply_adjustment(self.connection, event)
    }
}

/// Returns whether a submission, or the release of one, changes what is known of its order: a report says more.
fn is_changed_by(known: &ProjectedOrder, submission: &LoggedSubmission, is_released: bool) -> bool {
    let (claim, next) = (known.claim.as_deref().unwrap_or_default(), submission.claim.as_str());
    let known_claim = ClaimState {
        claim,
        is_released: known.is_released,
    };
    let next = ClaimState {
        claim: next,
        is_released,
    };
    known.version == 0 && known_claim.is_changed_by(&next)
}

/// Returns whether the filled quantity before, plus these fills, is the filled quantity of the report.
fn fills_add_up(report: &LoggedReport, known: &ProjectedOrder, fills: &[&ReportedFill]) -> bool {
    let Ok(before) = known.filled_quantity.parse::<Decimal>() else {
        return false;
    };
    let sum = fills
        .iter()
        .try_fold(before, |sum, fill| sum.checked_add(fill.quantity));
    sum == Some(report.filled_quantity)
}

fn capacity_error() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    let text = format!("the order log is full: it holds {MAX_ROWS} orders or executions");
    rusqlite::Error::SqliteFailure(code, Some(text))
}
