//! From the journal's entries to rows: each applied once, in the journal's order, whatever is delivered again.
//!
//! The rules are those of every consumer of the journal: an order's highest version counts; of two orders for one id, and
//! of two reports of one version, the first counts; an order that is known only by its submission is `unknown`.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{Mode, OrderStatus};
use crate::domain::time::Timestamp;
use crate::order_log::index::{IndexChange, MAX_ROWS};
use crate::order_log::ingest::entry::{LoggedReport, LoggedSubmission, OrderLogEvent, StreamEntry};
use crate::order_log::query::pages::{JsonColumn, TermColumn};
use crate::order_log::tables::positions::PositionLedger;
use crate::order_log::tables::tags::TagStore;
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::note::NoteEvent;
use crate::wire::report::ReportedFill;

/// An execution's id is its event's sequence times this, plus its index there.
pub(in crate::order_log) const EXECUTION_IDS_PER_ENTRY: u64 = 4_096;
/// The shortest time after its end that an order's id may be used again, whatever the settings say, less what workers'
/// clocks may differ: a second order that comes sooner is void.
const MIN_CLIENT_ORDER_ID_RETENTION: Duration = Duration::from_secs(3_000);

/// The most bytes of an order's notes; what would be more is passed over.
pub const MAX_NOTES_BYTES: usize = 8_192;
/// The most tags of an order, those added with notes included; what would be more is passed over.
pub const MAX_ORDER_TAGS: usize = 64;

/// How many entries that were left out are remembered one by one.
const MAX_SKIPPED_ROWS: u64 = 10_000;
/// The program's version.
pub(in crate::order_log) const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

const SELECT_PROJECTED_ORDER: &str = "SELECT ordinal, version, status, released, claim, fills_total, filled_quantity FROM orders \
    WHERE external_order_id = ?1";
const SELECT_NEWEST_OF_CLIENT_ORDER_ID: &str = "SELECT status, released, reported_at FROM orders \
    WHERE correlation_id = ?1 AND account_id = ?2 AND (mode = 'dry_run') = ?3 ORDER BY ordinal DESC LIMIT 1";
const INSERT_ORDER: &str = "INSERT INTO orders (ordinal, id, external_order_id, correlation_id, account_id, broker, \
    venue, symbol, side, order_type, time_in_force, limit_price, quantity, filled_quantity, status, released, claim, \
    submitted_at, expires_at, reported_at, created_at, tags, mode, reason, version, fills_total) VALUES (?1, ?2, ?3, \
    ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)";
const UPDATE_ORDER: &str = "UPDATE orders SET filled_quantity = ?2, status = ?3, released = 0, expires_at = coalesce(?4, expires_at), \
    reported_at = ?5, reason = ?6, version = ?7, fills_total = ?8 WHERE ordinal = ?1";
const INSERT_EXECUTION: &str = "INSERT INTO executions (ordinal, id, order_ordinal, external_execution_id, quantity, \
    price, fees, fee_currency, executed_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const SELECT_EXECUTION_EXISTS: &str =
    "SELECT 1 FROM executions WHERE order_ordinal = ?1 AND external_execution_id = ?2";

/// Applies entries within one transaction, and notes what they change in the index.
pub(in crate::order_log) struct Projection<'a> {
    pub(in crate::order_log) connection: &'a Connection,
    pub(in crate::order_log) labels: &'a mut TagStore,
    pub(in crate::order_log) positions: &'a mut PositionLedger,
    /// How many orders and executions there are, those of this transaction included.
    pub(in crate::order_log) order_count: u32,
    pub(in crate::order_log) execution_count: u32,
    pub(in crate::order_log) index_changes: Vec<IndexChange>,
    /// Whether an entry was left out.
    pub(in crate::order_log) has_skipped_entries: bool,
}

/// An order as the log has it.
struct ProjectedOrder {
    ordinal: u32,
    version: u32,
    status: OrderStatus,
    is_released: bool,
    claim: Option<String>,
    fills_total: u32,
    filled_quantity: String,
}

impl ProjectedOrder {
    fn listed_status(&self) -> Option<OrderStatus> {
        (!self.is_released).then_some(self.status)
    }
}

impl Projection<'_> {
    /// Applies an entry.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn apply(&mut self, entry: &StreamEntry) -> rusqlite::Result<()> {
        match &entry.event {
            OrderLogEvent::Report(report) => self.apply_report(entry, report),
            OrderLogEvent::Submitting(submission) => self.apply_submitting(entry, submission),
            OrderLogEvent::Released(submission) => self.apply_released(submission),
            OrderLogEvent::Adjustment(event) => self.apply_adjustment(event),
            OrderLogEvent::Note(event) => self.apply_note(event),
            OrderLogEvent::StateChange { version, mode } => self.apply_state_change(*version, *mode),
            OrderLogEvent::Alert(..) | OrderLogEvent::Ignored => Ok(()),
            OrderLogEvent::Unreadable(why) => self.record_skipped(entry.sequence, why),
        }
    }

    /// Takes note of an entry that is left out. Another version of the program may read it: it makes the log anew.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn record_skipped(&mut self, sequence: u64, why: &str) -> rusqlite::Result<()> {
        tracing::error!(sequence, why, "an entry of the journal is left out of the order log");
        let note = "INSERT OR IGNORE INTO skipped (sequence, version, why) SELECT ?1, ?2, ?3 \
                    WHERE (SELECT count(*) FROM skipped) < ?4";
        let mut statement = self.connection.prepare_cached(note)?;
        statement.execute(params![sequence, PROGRAM_VERSION, why, MAX_SKIPPED_ROWS])?;
        self.has_skipped_entries = true;
        Ok(())
    }

    fn apply_report(&mut self, entry: &StreamEntry, report: &LoggedReport) -> rusqlite::Result<()> {
        let known = match self.find_order(&report.order_id)? {
            Some(known) if report.version <= known.version => return Ok(()),
            Some(known) => {
                self.update_order(&known, report)?;
                known
            }
            None => match self.insert_order(entry, report, report.status, None)? {
                Some(known) => known,
                None => return Ok(()),
            },
        };
        self.insert_executions(entry, report, &known)
    }

    fn apply_submitting(&mut self, entry: &StreamEntry, submission: &LoggedSubmission) -> rusqlite::Result<()> {
        let (order, claim) = (&submission.order, Some(submission.claim.as_str()));
        let Some(known) = self.find_order(&order.order_id)? else {
            self.insert_order(entry, order, OrderStatus::Unknown, claim)?;
            return Ok(());
        };
        if known.version > 0 {
            return Ok(());
        }
        let again = "UPDATE orders SET released = 0, claim = ?2 WHERE ordinal = ?1";
        self.connection
            .prepare_cached(again)?
            .execute(params![known.ordinal, claim])?;
        self.record_status_change(known.ordinal, known.listed_status(), Some(known.status));
        Ok(())
    }

    fn apply_released(&mut self, submission: &LoggedSubmission) -> rusqlite::Result<()> {
        let Some(known) = self.find_order(&submission.order.order_id)? else {
            return Ok(());
        };
        if known.version > 0 || known.claim.as_deref() != Some(&submission.claim) {
            return Ok(());
        }
        let released = "UPDATE orders SET released = 1 WHERE ordinal = ?1";
        self.connection.prepare_cached(released)?.execute([known.ordinal])?;
        self.record_status_change(known.ordinal, known.listed_status(), None);
        Ok(())
    }

    fn find_order(&self, order_id: &str) -> rusqlite::Result<Option<ProjectedOrder>> {
        let mut statement = self.connection.prepare_cached(SELECT_PROJECTED_ORDER)?;
        let known = statement.query_row([order_id], |row| {
            Ok(ProjectedOrder {
                ordinal: row.get(0)?,
                version: row.get(1)?,
                status: row.get::<_, TermColumn<OrderStatus>>(2)?.0,
                is_released: row.get(3)?,
                claim: row.get(4)?,
                fills_total: row.get(5)?,
                filled_quantity: row.get(6)?,
            })
        });
        known.optional()
    }

    /// Adds an order; `None` where another one has its id, and it is void.
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
                "another order came first on the journal under this id: this one is void"
            );
            return Ok(None);
        }
        let ordinal = self.order_count;
        if ordinal >= MAX_ROWS {
            return Err(capacity_error());
        }
        let tags = serde_json::to_string(&report.tags).unwrap_or_default();
        self.connection.prepare_cached(INSERT_ORDER)?.execute(params![
            ordinal,
            entry.sequence,
            report.order_id,
            report.client_order_id,
            report.account_id,
            report.broker,
            report.venue,
            report.symbol,
            report.side.as_str(),
            report.order_type.as_str(),
            report.time_in_force.as_str(),
            report.price.map(|price| price.to_string()),
            report.quantity.to_string(),
            report.filled_quantity.to_string(),
            status.as_str(),
            claim,
            report.submitted_at.as_microseconds(),
            report.expires_at().map(Timestamp::as_microseconds),
            report.updated_at.as_microseconds(),
            entry.stored_at.as_microseconds(),
            tags,
            report.mode.as_str(),
            report.reason.as_ref().map(|reason| reason.get()),
            report.version,
            report.fills_total,
        ])?;
        self.order_count += 1;
        self.index_changes.push(IndexChange::OrderAdded {
            id: entry.sequence,
            account_id: report.account_id.clone(),
            symbol: report.symbol.clone(),
            broker: report.broker.clone(),
            submitted_at: report.submitted_at.as_microseconds(),
            status: Some(status),
        });
        for tag in &report.tags {
            self.add_tag(ordinal, tag)?;
        }
        Ok(Some(ProjectedOrder {
            ordinal,
            version: 0,
            status,
            is_released: false,
            claim: None,
            fills_total: 0,
            filled_quantity: "0".to_owned(),
        }))
    }

    /// Whether another order has the id, and had it first.
    fn is_void_duplicate(&self, report: &LoggedReport) -> rusqlite::Result<bool> {
        let mut statement = self.connection.prepare_cached(SELECT_NEWEST_OF_CLIENT_ORDER_ID)?;
        let is_dry_run = report.mode == Mode::DryRun;
        let key = params![report.client_order_id, report.account_id, is_dry_run];
        let holder = statement.query_row(key, |row| {
            Ok((
                row.get::<_, TermColumn<OrderStatus>>(0)?.0,
                row.get::<_, bool>(1)?,
                row.get(2)?,
            ))
        });
        Ok(match holder.optional()? {
            None | Some((_, true, _)) => false,
            Some((status, false, reported_at)) => {
                let free_at = Timestamp::from_microseconds(reported_at).saturating_add(MIN_CLIENT_ORDER_ID_RETENTION);
                !(status.is_terminal() && report.submitted_at >= free_at)
            }
        })
    }

    fn update_order(&mut self, known: &ProjectedOrder, report: &LoggedReport) -> rusqlite::Result<()> {
        self.connection.prepare_cached(UPDATE_ORDER)?.execute(params![
            known.ordinal,
            report.filled_quantity.to_string(),
            report.status.as_str(),
            report.expires_at().map(Timestamp::as_microseconds),
            report.updated_at.as_microseconds(),
            report.reason.as_ref().map(|reason| reason.get()),
            report.version,
            report.fills_total,
        ])?;
        self.record_status_change(known.ordinal, known.listed_status(), Some(report.status));
        Ok(())
    }

    fn record_status_change(&mut self, ordinal: u32, from: Option<OrderStatus>, to: Option<OrderStatus>) {
        if from != to {
            self.index_changes
                .push(IndexChange::StatusChanged { ordinal, from, to });
        }
    }

    /// Adds the fills that a report tells and its predecessor did not.
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
            // Not the successor of what is known: an effect between them was void, or it tells more than a report holds.
            fills = self.select_unrecorded_fills(report, known)?;
            if !fills_add_up(report, known, &fills) {
                // What is missing was never told one by one: the quantity is not to be relied on.
                self.positions.mark_inexact(self.connection, report)?;
            }
        }
        for (index, fill) in (0_u64..).zip(fills) {
            let ordinal = self.execution_count;
            if ordinal >= MAX_ROWS {
                return Err(capacity_error());
            }
            self.connection.prepare_cached(INSERT_EXECUTION)?.execute(params![
                ordinal,
                entry
                    .sequence
                    .saturating_mul(EXECUTION_IDS_PER_ENTRY)
                    .saturating_add(index),
                known.ordinal,
                fill.exec_id,
                fill.quantity.to_string(),
                fill.price.to_string(),
                fill.fee.to_string(),
                fill.fee_currency,
                fill.timestamp.as_microseconds(),
                entry.stored_at.as_microseconds(),
            ])?;
            self.execution_count += 1;
            self.index_changes.push(IndexChange::ExecutionAdded {
                order_ordinal: known.ordinal,
                executed_at: fill.timestamp.as_microseconds(),
            });
            self.positions.apply_fill(self.connection, report, fill)?;
        }
        self.positions.apply_fees(self.connection, report)
    }

    fn select_unrecorded_fills<'r>(
        &self,
        report: &'r LoggedReport,
        known: &ProjectedOrder,
    ) -> rusqlite::Result<Vec<&'r ReportedFill>> {
        let mut statement = self.connection.prepare_cached(SELECT_EXECUTION_EXISTS)?;
        let mut unknown = Vec::new();
        for fill in &report.fills {
            if !statement.exists(params![known.ordinal, fill.exec_id])? {
                unknown.push(fill);
            }
        }
        Ok(unknown)
    }

    /// Gives an order a tag.
    fn add_tag(&mut self, ordinal: u32, tag: &str) -> rusqlite::Result<()> {
        let text = tag.to_lowercase();
        if let Some(change) = self.labels.add_tag(self.connection, &text, ordinal)? {
            self.index_changes.push(change);
        }
        Ok(())
    }

    /// Adds a note to its order: a line each, and tags that it does not have in any case.
    fn apply_note(&mut self, event: &NoteEvent) -> rusqlite::Result<()> {
        let find = "SELECT ordinal, notes, tags FROM orders WHERE external_order_id = ?1 AND account_id = ?2";
        let noted = self
            .connection
            .prepare_cached(find)?
            .query_row([&event.order_id, &event.account_id], |row| {
                let tags = row.get::<_, JsonColumn<Vec<String>>>(2)?.0;
                Ok((row.get::<_, u32>(0)?, row.get::<_, Option<String>>(1)?, tags))
            });
        let Some((ordinal, notes, mut tags)) = noted.optional()? else {
            return Ok(());
        };
        let mut remember = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO notes (note_id) VALUES (?1)")?;
        if remember.execute([event.note_id.to_string()])? == 0 {
            return Ok(());
        }
        let length = notes.as_ref().map_or(0, String::len);
        let added = event.notes.clone().filter(|text| length + text.len() < MAX_NOTES_BYTES);
        let notes: Vec<String> = notes.into_iter().chain(added).collect();
        let notes = (!notes.is_empty()).then(|| notes.join("\n"));
        for tag in &event.tags {
            let is_known = tags.iter().any(|known| known.to_lowercase() == tag.to_lowercase());
            if is_known || tags.len() >= MAX_ORDER_TAGS {
                continue;
            }
            tags.push(tag.clone());
            self.add_tag(ordinal, tag)?;
        }
        let write =
            "UPDATE orders SET notes = ?2, tags = ?3, noted_at = max(coalesce(noted_at, 0), ?4) WHERE ordinal = ?1";
        let tags = serde_json::to_string(&tags).unwrap_or_default();
        let noted_at = event.timestamp.as_microseconds();
        self.connection
            .prepare_cached(write)?
            .execute(params![ordinal, notes, tags, noted_at])?;
        Ok(())
    }

    /// Books an adjustment of a position: of two events for one id the first counts.
    fn apply_adjustment(&mut self, event: &AdjustmentEvent) -> rusqlite::Result<()> {
        let mut remember = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO adjustments VALUES (?1)")?;
        if remember.execute([&event.adjustment_id])? == 0 {
            return Ok(());
        }
        self.positions.apply_adjustment(self.connection, event)
    }

    fn apply_state_change(&mut self, version: u64, mode: Option<Mode>) -> rusqlite::Result<()> {
        let newer = "INSERT INTO state (one, version, mode) VALUES (1, ?1, ?2) ON CONFLICT (one) DO UPDATE \
                     SET version = excluded.version, mode = coalesce(excluded.mode, mode) \
                     WHERE excluded.version > version";
        let mut statement = self.connection.prepare_cached(newer)?;
        statement.execute(params![version, mode.map(Mode::as_str)])?;
        Ok(())
    }
}

/// Whether these fills make what was filled before what is filled now.
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
    let why = format!("the order log holds {MAX_ROWS} orders or executions and takes no more");
    rusqlite::Error::SqliteFailure(code, Some(why))
}
