//! The pass over the journal: every entry is checked against the rules, and folded, so that the state that the journal makes
//! is at hand for the comparisons.

use std::collections::HashMap;

use futures_util::StreamExt;
use serde::Serialize;
use uuid::Uuid;

use crate::audit::adjustment_rules::check_adjustment;
use crate::audit::entry::{AuditedContent, AuditedEntry, AuditedReport, AuditedSubmission, decode, first_difference};
use crate::audit::error::AuditError;
use crate::audit::finding::{Finding, FindingKind, FindingLevel, Findings};
use crate::audit::history::{MAX_AUDITED_ORDERS, OrderHistories, OrderHistory, SeenEntry};
use crate::audit::report_rules::{CheckedReport, check_report, check_submission};
use crate::audit::term_rules::check_same_terms;
use crate::bus::subjects;
use crate::domain::id::AccountId;
use crate::domain::order::Order;
use crate::domain::settlement_end::SettlementEnd;
use crate::domain::time::Timestamp;
use crate::store::rebuild::fold::FoldedState;
use crate::store::sums::ledgers::LedgerOwner;
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::journal_report::{decode_journal_report, read_settlement_header};
use crate::worker::rebuild::fold_journal::{DecodedEntry, FoldSource, apply_entry};
use crate::worker::rebuild::fold_position::FoldPosition;

/// How many entries are decoded together.
const CHUNK_SIZE: usize = 256;
/// How many chunks are decoded at a time.
const CHUNKS_IN_FLIGHT: usize = 4;

/// What was read of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct JournalCounts {
    /// The sequence of the last entry.
    pub last_sequence: u64,
    /// The entries.
    pub entries: u64,
    /// The reports, repeats included.
    pub reports: u64,
    /// The orders.
    pub orders: u64,
    /// The adjustments, repeats included.
    pub adjustments: u64,
    /// The entries that repeat an earlier one, byte for byte.
    pub repeats: u64,
}

/// The pass over a journal, from its beginning.
pub(super) struct JournalAudit {
    pub(super) source: FoldSource,
    pub(super) state: FoldedState,
    pub(super) orders: OrderHistories,
    /// When each ledger was moved last.
    pub(super) last_moved: HashMap<LedgerOwner, Timestamp>,
    pub(super) counts: JournalCounts,
    pub(super) findings: Findings,
    adjustments: HashMap<String, SeenEntry>,
}

impl JournalAudit {
    /// Returns the pass before the first entry.
    pub(super) fn new(source: FoldSource) -> Self {
        Self {
            source,
            state: FoldedState::default(),
            orders: OrderHistories::default(),
            last_moved: HashMap::new(),
            counts: JournalCounts::default(),
            findings: Findings::default(),
            adjustments: HashMap::new(),
        }
    }

    /// Reads on, up to a sequence.
    ///
    /// # Errors
    /// When the journal does not reply or has lost entries that no operator has accepted, or it has too many orders.
    pub(super) async fn advance_to(&mut self, last_sequence: u64) -> Result<(), AuditError> {
        if self.state.progress.sequence >= last_sequence {
            return Ok(());
        }
        let entries = self
            .source
            .journal
            .replay(self.state.progress.sequence + 1, last_sequence);
        let decoded = entries
            .chunks(CHUNK_SIZE)
            .map(|chunk| tokio::task::spawn_blocking(move || chunk.into_iter().map(decode).collect()))
            .buffered(CHUNKS_IN_FLIGHT);
        let mut decoded = std::pin::pin!(decoded);
        while let Some(chunk) = decoded.next().await {
            let chunk: Vec<Result<AuditedEntry, _>> = chunk.map_err(|error| AuditError::Task(error.to_string()))?;
            for entry in chunk {
                self.apply(entry?).await?;
            }
            self.source.progress.send_replace(FoldPosition {
                sequence: self.state.progress.sequence,
                last_sequence,
            });
        }
        Ok(())
    }

    async fn apply(&mut self, entry: AuditedEntry) -> Result<(), AuditError> {
        let AuditedEntry {
            sequence,
            stored_at,
            digest,
            content,
            folded,
        } = entry;
        let seen = SeenEntry { sequence, digest };
        let is_gap = matches!(content, AuditedContent::Gap { .. });
        self.counts.entries += u64::from(!is_gap);
        match content {
            AuditedContent::Report(report) => self.apply_report(*report, seen, stored_at).await?,
            AuditedContent::Submission(submission) => self.apply_submission(*submission, seen, stored_at),
            AuditedContent::Adjustment(event) => self.apply_adjustment(&event, seen, stored_at).await?,
            AuditedContent::Other => {}
            AuditedContent::Gap { to } => {
                let pair = ("every entry", format!("none up to {to}"));
                let gap = Finding::new(FindingLevel::Notice, FindingKind::AcceptedLoss, "entries", pair);
                self.findings.add(gap.at(sequence));
            }
            AuditedContent::Unreadable(reason) => {
                let unreadable = Finding::of_break(FindingKind::UnreadableEntry, "body", ("an entry", reason));
                self.findings.add(unreadable.at(sequence));
            }
        }
        self.fold(folded, sequence).await?;
        self.counts.last_sequence = self.state.progress.sequence;
        self.counts.orders = self.orders.len() as u64;
        if self.orders.len() > MAX_AUDITED_ORDERS {
            return Err(AuditError::TooManyOrders);
        }
        Ok(())
    }

    /// Folds an entry as a rebuild does; one that no rebuild could read is passed over.
    async fn fold(&mut self, folded: Option<DecodedEntry>, sequence: u64) -> Result<(), AuditError> {
        match folded {
            Some(entry) => apply_entry(&self.source, &mut self.state, entry).await?,
            None => self.state.progress.sequence = sequence,
        }
        Ok(())
    }

    async fn apply_report(
        &mut self,
        audited: AuditedReport,
        seen: SeenEntry,
        stored_at: Timestamp,
    ) -> Result<(), AuditError> {
        self.counts.reports += 1;
        let order = &audited.order;
        self.note_moved(order, stored_at);
        let own_subject = subjects::report(&order.broker, &order.account_id);
        if audited.subject != own_subject {
            let pair = (own_subject, audited.subject.clone());
            let finding = Finding::of_break(FindingKind::WrongSubject, "subject", pair);
            self.findings.add(finding.of_order(&order.order_id, seen.sequence));
        }
        let known = self.orders.by_id.get(&order.order_id);
        let known_version = known.map_or(0, OrderHistory::version);
        if known.is_some_and(|known| known.is_void) || known_version == 0 && self.note_second_order(order, seen) {
            return Ok(());
        }
        let known = self.orders.by_id.get(&order.order_id);
        if order.version > 0 && order.version <= known_version {
            // A version before the first that is left was lost, and its loss accepted.
            return match known.and_then(|known| known.report(order.version)) {
                Some(first) => self.apply_repeat(&audited, first, seen).await,
                None => Ok(()),
            };
        }
        let before = match known {
            Some(OrderHistory { open: Some(open), .. }) => Some(open.clone()),
            Some(known) => match known.last_report() {
                Some(last) => self.read_order(last.sequence).await?,
                None => None,
            },
            None => None,
        };
        let has_lost_entries = self.state.progress.has_lost_entries;
        // Where entries are lost, the version before may be among them.
        let is_base = |before: &&Order| !has_lost_entries || before.version + 1 == order.version;
        let base = before.as_deref().filter(|before| before.version > 0).filter(is_base);
        if base.is_some_and(|base| !SettlementEnd::of(base.settlement_id).is_base_of(order.builds_on)) {
            self.note_void_effect(
                order,
                "settlement.builds_on",
                (base.and_then(|base| base.settlement_id), order.builds_on),
                seen,
            );
            return Ok(());
        }
        self.apply_new_version(&audited, before.as_deref(), seen);
        Ok(())
    }

    /// Notes an effect that does not count: another one of its version, or of the version before, came first.
    fn note_void_effect(&mut self, order: &Order, field: &str, ids: (Option<Uuid>, Option<Uuid>), seen: SeenEntry) {
        let shown = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        let pair = (shown(ids.0), shown(ids.1));
        let finding = Finding::new(FindingLevel::Notice, FindingKind::VoidEffect, field, pair);
        self.findings.add(finding.of_order(&order.order_id, seen.sequence));
    }

    /// Makes an order the holder of its client order id, or notes that another one holds it. Returns whether the order does
    /// not count.
    fn note_second_order(&mut self, order: &Order, seen: SeenEntry) -> bool {
        let Some((holder_id, history)) = self.orders.find_holder(order) else {
            self.orders.hold(order);
            return false;
        };
        let (holder_id, is_only_submitted) = (holder_id.clone(), history.version() == 0);
        let is_in_store = !self.source.places.is_at_venue(order);
        let (level, kind) = match is_in_store {
            true => (FindingLevel::Notice, FindingKind::VoidOrder),
            false => (FindingLevel::Break, FindingKind::SecondOrder),
        };
        // Of an order that was only submitted and one that has a report, the one with the report counts.
        let counts = is_in_store && is_only_submitted;
        let (first, void) = match counts {
            true => (&order.order_id, &holder_id),
            false => (&holder_id, &order.order_id),
        };
        let finding = Finding::new(level, kind, "the order of this client order id", (first, void));
        self.findings.add(finding.of_order(void, seen.sequence));
        self.orders.by_id.entry(void.clone()).or_default().is_void = true;
        if counts {
            self.orders.hold(order);
        }
        !counts
    }

    /// Checks a report whose version was seen before.
    async fn apply_repeat(
        &mut self,
        audited: &AuditedReport,
        first: SeenEntry,
        seen: SeenEntry,
    ) -> Result<(), AuditError> {
        if first.digest == seen.digest {
            self.counts.repeats += 1;
            return Ok(());
        }
        let order_id = &audited.order.order_id;
        let [one, other] = [first.sequence, seen.sequence].map(|sequence| self.source.journal.read_entry(sequence));
        let (Some(one), Some(other)) = (one.await?, other.await?) else {
            return Ok(());
        };
        let [of_one, of_other] = [&one.body, &other.body].map(|body| read_settlement_header(body));
        let are_two_effects = of_one.id.is_some() && of_other.id.is_some() && of_one.id != of_other.id;
        if are_two_effects && of_one.epoch != of_other.epoch {
            self.note_void_effect(&audited.order, "settlement.id", (of_one.id, of_other.id), seen);
            return Ok(());
        }
        let [one, other] = [&one.body, &other.body].map(|body| serde_json::from_slice(body).unwrap_or_default());
        if let Some((field, expected, found)) = first_difference(&one, &other) {
            let field = format!("version {}, {field}", audited.order.version);
            let finding = Finding::of_break(FindingKind::ChangedRepeat, field, (expected, found));
            self.findings.add(finding.of_order(order_id, seen.sequence));
        }
        Ok(())
    }

    fn apply_new_version(&mut self, audited: &AuditedReport, before: Option<&Order>, seen: SeenEntry) {
        let (order, has_lost_entries) = (&audited.order, self.state.progress.has_lost_entries);
        let history = self.orders.by_id.entry(order.order_id.clone()).or_default();
        let last = history.version();
        let mut found = Vec::new();
        let follows = order.version == last + 1;
        if !follows && !has_lost_entries {
            let pair = (last + 1, order.version);
            found.push(Finding::of_break(FindingKind::VersionGap, "version", pair));
        }
        let checked = CheckedReport {
            report: &audited.report,
            order,
            settlement: &audited.settlement,
        };
        // The first report counts from nothing; what was submitted has its terms.
        let reported = before.filter(|before| before.version > 0 && follows);
        found.extend(check_report(checked, reported));
        if let Some(submitted) = before.filter(|before| before.version == 0 && !history.is_released) {
            found.extend(check_same_terms(order, submitted));
        }
        history.record_version(audited, seen, follows);
        for finding in found {
            self.findings.add(finding.of_order(&order.order_id, seen.sequence));
        }
    }

    fn apply_submission(&mut self, audited: AuditedSubmission, seen: SeenEntry, stored_at: Timestamp) {
        let order = &audited.order;
        self.note_moved(order, stored_at);
        let history = self.orders.by_id.get(&order.order_id);
        if history.is_some_and(|known| known.submissions.iter().any(|one| one.digest == seen.digest)) {
            self.counts.repeats += 1;
            return;
        }
        let mut found = Vec::new();
        if history.is_some_and(|known| known.version() > 0) {
            let pair = ("no submission after a report", "a submission or a release");
            found.push(Finding::of_break(FindingKind::Submission, "event", pair));
        } else {
            if !audited.is_released {
                found = check_submission(order, &audited.settlement, &audited.deltas);
            }
            let is_free = self.orders.find_holder(order).is_none();
            if is_free {
                self.orders.hold(order);
            }
            let history = self.orders.by_id.entry(order.order_id.clone()).or_default();
            let is_change = history.is_changed_by(&audited);
            if history.first_sequence == 0 {
                history.first_sequence = seen.sequence;
                history.row_digest = audited.row_digest;
                history.submitted_at = order.submitted_at;
            }
            history.submissions.push(seen);
            if is_change {
                history.is_void = !is_free;
                history.claim = audited.claim;
                history.is_released = audited.is_released;
                history.updated_at = order.updated_at;
                history.open = (!audited.is_released).then(|| Box::new(order.clone()));
            }
        }
        for finding in found {
            self.findings.add(finding.of_order(&order.order_id, seen.sequence));
        }
    }

    async fn apply_adjustment(
        &mut self,
        event: &AdjustmentEvent,
        seen: SeenEntry,
        stored_at: Timestamp,
    ) -> Result<(), AuditError> {
        self.counts.adjustments += 1;
        if let Ok(account) = AccountId::new(&event.account_id) {
            for owner in [
                LedgerOwner::Account(event.mode, account),
                LedgerOwner::Total(event.mode),
            ] {
                self.last_moved.insert(owner, stored_at);
            }
        }
        let Some(first) = self.adjustments.get(&event.adjustment_id).copied() else {
            for finding in check_adjustment(event) {
                self.findings
                    .add(finding.named(event.adjustment_id.clone()).at(seen.sequence));
            }
            self.adjustments.insert(event.adjustment_id.clone(), seen);
            return Ok(());
        };
        if first.digest == seen.digest {
            self.counts.repeats += 1;
            return Ok(());
        }
        let stored = self.source.journal.read_entry(first.sequence).await?;
        let one = stored.map(|stored| serde_json::from_slice(&stored.body).unwrap_or_default());
        let other = serde_json::to_value(event).unwrap_or_default();
        if let Some((field, expected, found)) = first_difference(&one.unwrap_or_default(), &other) {
            let finding = Finding::of_break(FindingKind::ChangedRepeat, field, (expected, found));
            self.findings
                .add(finding.named(event.adjustment_id.clone()).at(seen.sequence));
        }
        Ok(())
    }

    fn note_moved(&mut self, order: &Order, stored_at: Timestamp) {
        for owner in [
            LedgerOwner::Account(order.mode, order.account_id.clone()),
            LedgerOwner::Total(order.mode),
        ] {
            self.last_moved.insert(owner, stored_at);
        }
    }

    /// Reads an order at one of its reports again: it has ended, and only its history was kept.
    async fn read_order(&self, sequence: u64) -> Result<Option<Box<Order>>, AuditError> {
        let stored = self.source.journal.read_entry(sequence).await?;
        let decoded = stored.and_then(|stored| decode_journal_report(&stored.body).ok());
        Ok(decoded.map(|(order, _)| Box::new(order)))
    }
}
