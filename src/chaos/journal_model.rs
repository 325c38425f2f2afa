//! What the journal says: every order with its versions, and the limits that were in force.
//!
//! Of two orders for one id, and of two effects that claim one version, the first on the journal counts; the later is void,
//! and so is what builds on it.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context;
use futures_util::StreamExt;
use uuid::Uuid;

use crate::bus::connection::BusError;
use crate::bus::journal::JournalReader;
use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::chaos::history::{ReportHash, hash_without_replace, report_hash};
use crate::chaos::judgement::OrderJudgement;
use crate::chaos::violation::FoundViolations;
use crate::config::limits::LimitSettings;
use crate::domain::decimal::Decimal;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::wire::limits::LimitsEvent;
use crate::wire::report::ExecutionReport;
use crate::wire::settled_legs::SettlementReplace;
use crate::wire::settlement::ReportSettlement;
use crate::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND, SubmissionEvent};

/// Account and client order id.
pub(in crate::chaos) type IntentKey = (String, String);

/// One version of an order.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct ModelVersion {
    /// The sequence of its journal entry.
    pub(in crate::chaos) sequence: u64,
    /// When the journal stored it.
    pub(in crate::chaos) stored_at: Timestamp,
    /// The hash of its report.
    pub(in crate::chaos) hash: ReportHash,
    /// The hash of its report without what that says of a replace.
    pub(in crate::chaos) hash_without_replace: ReportHash,
    /// The id of its settlement.
    pub(in crate::chaos) settlement: Option<Uuid>,
    /// The limit price and the quantity in force.
    pub(in crate::chaos) terms: (Option<Decimal>, Decimal),
    /// The replaces of the order, the oldest first.
    pub(in crate::chaos) replaces: Vec<SettlementReplace>,
}

/// What new terms of an order were judged by.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct JudgedReplace {
    /// The sequence of the journal entry that begins the replace.
    pub(in crate::chaos) sequence: u64,
    /// When the new terms were accepted.
    pub(in crate::chaos) accepted_at: Timestamp,
    /// The epoch of the store that they were reserved in.
    pub(in crate::chaos) epoch: i64,
    /// Whether they only reduce what is open at its price: such terms pass every rule, and are not judged.
    pub(in crate::chaos) only_reduces: bool,
    /// The judgement.
    pub(in crate::chaos) judgement: OrderJudgement,
}

/// An order.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct ModelOrder {
    /// Its versions, from 1.
    pub(in crate::chaos) versions: Vec<ModelVersion>,
    /// The moves of the sums over all versions.
    pub(in crate::chaos) deltas: SumDeltas,
    /// The sequence of its first event: its submission to a live venue or the release of a claim, or its first report.
    pub(in crate::chaos) first_sequence: u64,
    /// What it was judged by.
    pub(in crate::chaos) judgement: OrderJudgement,
    /// What its replaces were judged by, the oldest first.
    pub(in crate::chaos) judged_replaces: Vec<JudgedReplace>,
    /// The epoch of the store that it was claimed in.
    pub(in crate::chaos) epoch: i64,
    /// Its newest report, with the settlement.
    pub(in crate::chaos) newest: ExecutionReport,
}

/// Returns the replaces of the last version.
pub(in crate::chaos) fn last_replaces(versions: &[ModelVersion]) -> &[SettlementReplace] {
    versions.last().map_or(&[], |version| &version.replaces)
}

/// Limits, from their journal entry on.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct ModelLimits {
    /// The sequence of their entry.
    pub(in crate::chaos) sequence: u64,
    /// When they were changed.
    pub(in crate::chaos) changed_at: Timestamp,
    /// The limits.
    pub(in crate::chaos) limits: LimitSettings,
}

/// What the journal says.
#[derive(Debug, Default)]
pub(in crate::chaos) struct JournalModel {
    /// The orders, by account and client order id.
    pub(in crate::chaos) orders: HashMap<IntentKey, ModelOrder>,
    /// The ids of orders that are void: another order of the same id is before them.
    pub(in crate::chaos) void_orders: HashSet<String>,
    /// How many effects are void: another effect of the same version is before them, or they build on a void one.
    pub(in crate::chaos) void_effects: u64,
    /// The first submission of each order to a live venue: its sequence, and what the order was judged by.
    submissions: HashMap<String, (u64, OrderJudgement)>,
    /// The sequence of the first release of each order.
    releases: HashMap<String, u64>,
    /// The limits, the oldest first.
    pub(in crate::chaos) limits: Vec<ModelLimits>,
    /// The number of entries by kind.
    pub(in crate::chaos) entries: BTreeMap<&'static str, u64>,
}

impl ModelOrder {
    /// Reports whether a risk rule denied it: nothing of it was sent.
    pub(in crate::chaos) fn is_denied(&self) -> bool {
        self.newest.denial().is_some()
    }

    /// Returns its replaces as the journal ends with them, the oldest first.
    pub(in crate::chaos) fn replaces(&self) -> &[SettlementReplace] {
        last_replaces(&self.versions)
    }

    /// Reports whether it, or new terms of it, passed limits as a reduction.
    pub(in crate::chaos) fn has_passed_as_reduction(&self) -> bool {
        let mut replaces = self.judged_replaces.iter();
        self.judgement.is_reduction || replaces.any(|replace| replace.judgement.is_reduction)
    }

    /// Adds the next version.
    fn add_version(&mut self, version: ModelVersion, report: ExecutionReport, settlement: &ReportSettlement) {
        let (before, begun) = (self.replaces().len(), version.replaces.last());
        if let Some(replace) = begun.filter(|_| version.replaces.len() > before) {
            let same_price = self.newest.price == Some(replace.price);
            self.judged_replaces.push(JudgedReplace {
                sequence: version.sequence,
                accepted_at: report.updated_at,
                epoch: settlement.epoch,
                only_reduces: same_price && replace.quantity < self.newest.quantity,
                judgement: OrderJudgement::of(&settlement.figures),
            });
        }
        self.versions.push(version);
        self.newest = report;
    }

    /// Returns the order's id.
    pub(in crate::chaos) fn order_id(&self) -> &str {
        &self.newest.order_id
    }
}

/// Reads the journal. What it cannot be is a violation.
///
/// # Errors
/// When it cannot be read.
pub(in crate::chaos) async fn read_journal(
    reader: &JournalReader,
    found: &mut FoundViolations,
) -> anyhow::Result<JournalModel> {
    let extent = reader.read_extent().await.context("reading the journal's extent")?;
    let mut entries = std::pin::pin!(reader.replay(1, extent.last_sequence));
    let mut model = JournalModel::default();
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) => model.add(&entry, found),
            Err(BusError::JournalGap { from, to }) => {
                found.add("journal_gap", format!("entries {from} to {to} are missing"))
            }
            Err(error) => return Err(error).context("reading the journal"),
        }
    }
    Ok(model)
}

impl JournalModel {
    /// Reports whether the journal has the submission of an order to a live venue.
    pub(in crate::chaos) fn has_submission(&self, order_id: &str) -> bool {
        self.submissions.contains_key(order_id)
    }

    /// Adds an entry.
    fn add(&mut self, entry: &StoredEntry, found: &mut FoundViolations) {
        let is_limits = entry.subject == subjects::event(subjects::LIMITS_EVENT_KIND, None);
        let (kind, added) = match () {
            () if subjects::is_report(&entry.subject) => ("report", self.add_report(entry, found)),
            () if is_limits => ("limits", self.add_limits(entry)),
            () if subjects::parse_event_kind(&entry.subject) == Some(SUBMITTING_EVENT_KIND) => {
                ("submission", self.add_submission(entry))
            }
            () if subjects::parse_event_kind(&entry.subject) == Some(RELEASED_EVENT_KIND) => {
                ("release", self.add_release(entry))
            }
            () => ("other", Ok(())),
        };
        *self.entries.entry(kind).or_default() += 1;
        // The run books none: this is a fill of a venue that belongs to no order.
        if subjects::is_adjustment(&entry.subject) {
            found.add("orphan_booked", String::from_utf8_lossy(&entry.body));
        }
        if let Err(error) = added {
            found.add("journal_entry", format!("entry {}: {error:#}", entry.sequence));
        }
    }

    fn add_limits(&mut self, entry: &StoredEntry) -> anyhow::Result<()> {
        let event: LimitsEvent = serde_json::from_slice(&entry.body)?;
        self.limits.push(ModelLimits {
            sequence: entry.sequence,
            changed_at: event.timestamp,
            limits: LimitSettings::from_json(&event.packed.unpack()?)?,
        });
        Ok(())
    }

    fn add_submission(&mut self, entry: &StoredEntry) -> anyhow::Result<()> {
        let event: SubmissionEvent = serde_json::from_slice(&entry.body)?;
        let settlement = event
            .order
            .settlement
            .as_deref()
            .context("the submission has no settlement")?;
        let submission = (entry.sequence, OrderJudgement::of(&settlement.figures));
        self.submissions.entry(event.order.order_id).or_insert(submission);
        Ok(())
    }

    fn add_release(&mut self, entry: &StoredEntry) -> anyhow::Result<()> {
        let event: SubmissionEvent = serde_json::from_slice(&entry.body)?;
        self.releases.entry(event.order.order_id).or_insert(entry.sequence);
        Ok(())
    }

    fn add_report(&mut self, entry: &StoredEntry, found: &mut FoundViolations) -> anyhow::Result<()> {
        let report = ExecutionReport::decode(&entry.body)?;
        let settlement = report.settlement.as_deref().context("the report has no settlement")?;
        let deltas = SumDeltas::try_from(settlement.deltas)?;
        let version = ModelVersion {
            sequence: entry.sequence,
            stored_at: entry.stored_at,
            hash: report_hash(&report),
            hash_without_replace: hash_without_replace(&report),
            settlement: settlement.id,
            terms: (report.price, report.quantity),
            replaces: settlement
                .legs
                .as_ref()
                .map_or_else(Vec::new, |legs| legs.replaces.clone()),
        };
        let key = (report.account_id.clone(), report.client_order_id.clone());
        let Some(order) = self.orders.get_mut(&key) else {
            if report.version != 1 {
                found.add(
                    "version_gap",
                    format!("{} begins with version {}", report.order_id, report.version),
                );
            }
            let first_sequence = entry.sequence;
            let judgement = OrderJudgement::of(&settlement.figures);
            // An order for a live venue is judged before its submission, and another worker may write its first report.
            let (first_sequence, judgement) = match self.submissions.get(&report.order_id) {
                Some((sequence, judged)) if judgement.caps.is_empty() => (*sequence, judged.clone()),
                Some((sequence, _)) => (*sequence, judgement),
                None => (first_sequence, judgement),
            };
            // A claim can be released before its submission comes.
            let released = self.releases.get(&report.order_id);
            let first_sequence = released.map_or(first_sequence, |released| first_sequence.min(*released));
            let order = ModelOrder {
                versions: vec![version],
                first_sequence,
                deltas,
                judgement,
                judged_replaces: Vec::new(),
                epoch: settlement.epoch,
                newest: report,
            };
            self.orders.insert(key, order);
            return Ok(());
        };
        if order.newest.order_id != report.order_id {
            self.void_orders.insert(report.order_id);
            return Ok(());
        }
        let known = usize::try_from(report.version)
            .ok()
            .and_then(|version| order.versions.get(version.checked_sub(1)?));
        let last = order.versions.last().and_then(|last| last.settlement);
        let builds_on_void = settlement.builds_on.is_some() && settlement.builds_on != last;
        match known {
            Some(known) if known.hash == version.hash && known.settlement == version.settlement => {}
            Some(_) => self.void_effects += 1,
            None if builds_on_void => self.void_effects += 1,
            None if report.version == order.newest.version + 1 => {
                order.deltas = order.deltas.checked_add(&deltas).context("the sums overflow")?;
                let settlement = settlement.clone();
                order.add_version(version, report, &settlement);
            }
            None => found.add(
                "version_gap",
                format!(
                    "{} has version {} after {}",
                    report.order_id, report.version, order.newest.version
                ),
            ),
        }
        Ok(())
    }
}
