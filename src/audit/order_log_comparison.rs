//! The journal against an order log. It is read from the SQLite file and not over REST: one read transaction shows every row
//! in one state, with the journal sequence of that state beside them, so that rows and journal are compared at the same
//! entry, whatever runs meanwhile; and no page limit, key or cache is involved.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::audit::error::AuditError;
use crate::audit::finding::{Finding, FindingKind};
use crate::audit::journal::JournalAudit;
use crate::audit::logged_row::{FillsDigest, LoggedRow, row_of_fill};
use crate::domain::id::OrderId;
use crate::order_log::inspection::{InspectedOrder, OrderLogExtent, OrderLogSnapshot};
use crate::store::sums::ledgers::LedgerOwner;
use crate::wire::report::ExecutionReport;
use crate::wire::submission::SubmissionEvent;

/// How long an order log may take to apply the end of the journal.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two reads of it.
const READ_INTERVAL: Duration = Duration::from_millis(200);
/// The most rows that differ and are read again, to name their fields.
const MAX_DIFFERING_ROWS: usize = 1_000;

/// What a comparison with an order log has compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct OrderLogCounts {
    /// The journal sequence that it was compared at.
    pub journal_sequence: u64,
    /// The orders in it.
    pub orders: u64,
    /// The executions in it.
    pub executions: u64,
    /// The positions in it.
    pub positions: u64,
}

/// What the rows of an order log showed.
#[derive(Default)]
struct RowsRead {
    counts: OrderLogCounts,
    /// The orders whose rows differ, at most [`MAX_DIFFERING_ROWS`].
    differing: Vec<InspectedOrder>,
    seen: HashSet<OrderId>,
    unknown: Vec<InspectedOrder>,
}

/// Compares the order log below a data directory with the journal. Returns `None` if there is none.
///
/// # Errors
/// When the file cannot be read, or the journal does not reply.
pub(super) async fn compare_order_log(
    journal: &mut JournalAudit,
    data_dir: &Path,
) -> Result<Option<OrderLogCounts>, AuditError> {
    let Some((snapshot, extent)) = open_current(journal, data_dir).await? else {
        return Ok(None);
    };
    journal.advance_to(extent.journal_sequence).await?;
    let last_sequence = journal.state.progress.sequence;
    if extent.journal_sequence < last_sequence {
        let pair = (last_sequence, extent.journal_sequence);
        let behind = Finding::of_break(FindingKind::OrderLogBehind, "journal_sequence", pair);
        journal.findings.add(behind);
        return Ok(Some(OrderLogCounts {
            journal_sequence: extent.journal_sequence,
            ..OrderLogCounts::default()
        }));
    }
    if extent.skipped > 0 {
        let skipped = Finding::of_break(FindingKind::OrderLogSkipped, "entries", (0, extent.skipped));
        journal.findings.add(skipped);
    }
    let mut read = RowsRead {
        counts: OrderLogCounts {
            journal_sequence: extent.journal_sequence,
            ..OrderLogCounts::default()
        },
        ..RowsRead::default()
    };
    snapshot.visit_orders(|row| visit_row(journal, row, &mut read))?;
    for row in std::mem::take(&mut read.unknown) {
        let pair = ("absent", format!("{} version {}", row.status, row.version));
        let finding = Finding::of_break(FindingKind::OrderLogOrder, "row", pair);
        journal.findings.add(finding.of_order(row.order_id, row.id));
    }
    for row in std::mem::take(&mut read.differing) {
        name_differences(journal, &row).await?;
    }
    add_missing_rows(journal, &read.seen);
    compare_positions(journal, &snapshot, &mut read.counts)?;
    Ok(Some(read.counts))
}

/// Opens the order log in a state that is no older than the journal as it was read so far, if it gets there in time.
async fn open_current(
    journal: &JournalAudit,
    data_dir: &Path,
) -> Result<Option<(OrderLogSnapshot, OrderLogExtent)>, AuditError> {
    let end = Instant::now() + CATCH_UP_TIMEOUT;
    loop {
        let Some(snapshot) = OrderLogSnapshot::open(data_dir)? else {
            return Ok(None);
        };
        let extent = snapshot.extent()?;
        check_not_behind(journal, &extent).await?;
        if extent.journal_sequence >= journal.state.progress.sequence || Instant::now() >= end {
            return Ok(Some((snapshot, extent)));
        }
        drop(snapshot);
        sleep(READ_INTERVAL).await;
    }
}

/// Checks that the journal has every entry that the order log has seen.
async fn check_not_behind(journal: &JournalAudit, extent: &OrderLogExtent) -> Result<(), AuditError> {
    let of_journal = journal.source.journal.read_extent().await?;
    let is_same = extent
        .journal_created
        .is_none_or(|created| created == of_journal.created_at);
    if is_same && extent.journal_sequence <= of_journal.last_sequence {
        return Ok(());
    }
    Err(AuditError::JournalBehindOrderLog {
        seen: extent.journal_sequence,
        seen_created: extent.journal_created.map(|at| at.to_string()).unwrap_or_default(),
        last_sequence: of_journal.last_sequence,
        created: of_journal.created_at.to_string(),
    })
}

fn visit_row(journal: &JournalAudit, row: InspectedOrder, read: &mut RowsRead) {
    read.counts.orders += 1;
    read.counts.executions += row.fills.len() as u64;
    let order_id = OrderId::new(&row.order_id).ok();
    let history = order_id.as_ref().and_then(|id| journal.orders.by_id.get(id));
    let (Some(order_id), Some(history)) = (order_id, history.filter(|history| !history.is_void)) else {
        if read.unknown.len() < MAX_DIFFERING_ROWS {
            read.unknown.push(row);
        }
        return;
    };
    let mut fills = FillsDigest::default();
    row.fills.iter().for_each(|fill| fills.add_row(fill));
    let is_released = history.version() == 0 && history.is_released;
    let is_equal = LoggedRow::of_row(&row).digest() == history.row_digest
        && row.id == history.first_sequence
        && row.submitted_at == history.submitted_at
        && row.is_released == is_released
        && (history.has_unlisted_fills || fills == history.fills);
    read.seen.insert(order_id);
    if !is_equal && read.differing.len() < MAX_DIFFERING_ROWS {
        read.differing.push(row);
    }
}

/// Names the fields in which a row differs from the order's last report.
async fn name_differences(journal: &mut JournalAudit, row: &InspectedOrder) -> Result<(), AuditError> {
    let history = OrderId::new(&row.order_id).ok();
    let Some(history) = history.and_then(|id| journal.orders.by_id.get(&id).cloned()) else {
        return Ok(());
    };
    let last = history.last_report().or_else(|| history.submissions.first().copied());
    let sequence = last.map_or(history.first_sequence, |last| last.sequence);
    let stored = journal.source.journal.read_entry(sequence).await?;
    let report = stored.and_then(|stored| {
        let report = ExecutionReport::decode(&stored.body).ok();
        report.or_else(|| Some(serde_json::from_slice::<SubmissionEvent>(&stored.body).ok()?.order))
    });
    let Some(report) = report else { return Ok(()) };
    let is_released = history.version() == 0 && history.is_released;
    let mut differences = LoggedRow::of_report(&report).differences(&LoggedRow::of_row(row));
    for (name, expected, found) in [
        ("id", history.first_sequence.to_string(), row.id.to_string()),
        (
            "submitted_at",
            history.submitted_at.to_string(),
            row.submitted_at.to_string(),
        ),
        ("is_released", is_released.to_string(), row.is_released.to_string()),
    ] {
        if expected != found {
            differences.push((name, expected, found));
        }
    }
    for (field, expected, found) in differences {
        let finding = Finding::of_break(FindingKind::OrderLogOrder, field, (expected, found));
        journal.findings.add(finding.of_order(&row.order_id, sequence));
    }
    let mut fills = FillsDigest::default();
    row.fills.iter().for_each(|fill| fills.add_row(fill));
    if !history.has_unlisted_fills && fills != history.fills {
        let wanted: BTreeMap<_, _> = report
            .fills
            .iter()
            .map(|fill| (fill.exec_id.clone(), row_of_fill(fill)))
            .collect();
        let found: BTreeMap<_, _> = row
            .fills
            .iter()
            .map(|fill| (fill.exec_id.clone(), fill.clone()))
            .collect();
        let differing = |(id, fill): &(_, _)| found.get(*id) != Some(*fill);
        let missing = wanted.iter().find(differing).map(|(_, fill)| format!("{fill:?}"));
        let extra = row.fills.iter().find(|fill| wanted.get(&fill.exec_id) != Some(*fill));
        let pair = (
            missing.unwrap_or_else(|| format!("{} executions", history.fills.count)),
            extra.map_or_else(|| format!("{} executions", row.fills.len()), |fill| format!("{fill:?}")),
        );
        let finding = Finding::of_break(FindingKind::OrderLogExecutions, "executions", pair);
        journal.findings.add(finding.of_order(&row.order_id, sequence));
    }
    Ok(())
}

fn add_missing_rows(journal: &mut JournalAudit, seen: &HashSet<OrderId>) {
    let mut missing = Vec::new();
    for (order_id, history) in &journal.orders.by_id {
        let has_row = history.first_sequence > 0 && !history.is_void;
        if has_row && !seen.contains(order_id) && missing.len() < MAX_DIFFERING_ROWS {
            missing.push((order_id.clone(), history.first_sequence));
        }
    }
    missing.sort_by_key(|(_, sequence)| *sequence);
    for (order_id, sequence) in missing {
        let finding = Finding::of_break(FindingKind::OrderLogOrder, "row", ("a row", "absent"));
        journal.findings.add(finding.of_order(order_id, sequence));
    }
}

/// Compares the quantity of every position. Cost and profit depend on the order of fills and are the order log's alone.
fn compare_positions(
    journal: &mut JournalAudit,
    snapshot: &OrderLogSnapshot,
    counts: &mut OrderLogCounts,
) -> Result<(), AuditError> {
    let mut wanted: BTreeMap<(String, String, String, String), i128> = BTreeMap::new();
    for (owner, ledger) in &journal.state.ledgers {
        let LedgerOwner::Account(mode, account_id) = owner else {
            continue;
        };
        for ((venue, symbol), holding) in &ledger.holdings {
            let key = (
                mode.to_string(),
                account_id.to_string(),
                venue.to_string(),
                symbol.to_string(),
            );
            wanted.insert(key, holding.position);
        }
    }
    // What was lost and accepted may be in one of the two only.
    if journal.state.progress.has_lost_entries {
        return Ok(());
    }
    for row in snapshot.positions()? {
        counts.positions += 1;
        let key = (row.mode, row.account_id, row.venue, row.symbol);
        let position = wanted.remove(&key).unwrap_or(0);
        let name = format!("{} {} {} {}", key.0, key.1, key.2, key.3);
        if row.quantity != position.to_string() && row.is_exact {
            let pair = (position, row.quantity);
            let finding = Finding::of_break(FindingKind::OrderLogPosition, "quantity (1e-8)", pair);
            journal.findings.add(finding.named(name));
        } else if !row.is_exact {
            let finding = Finding::of_break(FindingKind::OrderLogPosition, "is_exact", (true, false));
            journal.findings.add(finding.named(name));
        }
    }
    for (key, position) in wanted.into_iter().filter(|(_, position)| *position != 0) {
        let finding = Finding::of_break(FindingKind::OrderLogPosition, "quantity (1e-8)", (position, "absent"));
        let name = format!("{} {} {} {}", key.0, key.1, key.2, key.3);
        journal.findings.add(finding.named(name));
    }
    Ok(())
}
