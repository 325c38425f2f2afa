//! From the journal's entries to the store: reports, and the submissions and releases between them, in the journal's order.

use futures_util::StreamExt;

use crate::bus::journal::StoredEntry;
use crate::bus::subjects;
use crate::domain::order::Order;
use crate::store::keys::OrderKey;
use crate::store::orders::read::StoredOrder;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::rebuild::orders::{ConflictingOrder, OrderReplay};
use crate::store::rebuild::submissions::SubmissionReplay;
use crate::wire::journal_report::{decode_journal_report, read_settlement_header};
use crate::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND, decode_submission};
use crate::worker::adjustments;
use crate::worker::journaling::current_report;
use crate::worker::rebuild::StoreRebuildError;
use crate::worker::router::Router;
use crate::worker::submission::announced;

/// How often an event is tried to be put in the place of one that came later on the journal, while that one changes.
const MAX_REPLACE_ATTEMPTS: usize = 20;
/// The pause between two tries.
const REPLACE_RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(10);
/// How many events one script call replays.
const REPLAY_BATCH_SIZE: usize = 256;

/// The store that is replayed into.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) enum ReplayTarget<'a> {
    /// One that is being healed.
    Rebuilding(&'a StoreRebuild),
    /// One that is in use: late events of the epoch before.
    InUse,
}

impl<'a> ReplayTarget<'a> {
    fn rebuild(self) -> Option<&'a StoreRebuild> {
        match self {
            Self::Rebuilding(healing) => Some(healing),
            Self::InUse => None,
        }
    }
}

/// What a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::worker) struct ReplaySummary {
    /// The newest epoch it met.
    pub newest_epoch: i64,
    /// How many events changed something.
    pub changed: u64,
}

enum ReplayItem {
    Report(OrderReplay),
    Submission(SubmissionReplay),
}

/// Events of one kind that follow each other on the journal.
#[derive(Default)]
struct ReplayBatch {
    reports: Vec<OrderReplay>,
    submissions: Vec<SubmissionReplay>,
}

impl ReplayBatch {
    /// Whether an event has to wait until this run has been replayed.
    fn must_flush_before(&self, event: &ReplayItem) -> bool {
        match event {
            ReplayItem::Report(_) => !self.submissions.is_empty() || self.reports.len() == REPLAY_BATCH_SIZE,
            ReplayItem::Submission(_) => !self.reports.is_empty() || self.submissions.len() == REPLAY_BATCH_SIZE,
        }
    }

    fn push(&mut self, event: ReplayItem) {
        match event {
            ReplayItem::Report(event) => self.reports.push(event),
            ReplayItem::Submission(event) => self.submissions.push(event),
        }
    }

    /// Applies the run and empties it; returns how many events changed something.
    async fn flush(&mut self, router: &Router, target: ReplayTarget<'_>) -> Result<u64, StoreRebuildError> {
        let mut changed = 0;
        if !self.reports.is_empty() {
            changed += replay_reports(router, target, &self.reports).await?;
            self.reports.clear();
        }
        if !self.submissions.is_empty() {
            changed += match target {
                ReplayTarget::Rebuilding(healing) => {
                    router.store.replay_submissions(healing, &self.submissions).await?
                }
                ReplayTarget::InUse => router.store.replay_late_submissions(&self.submissions).await?,
            };
            self.submissions.clear();
        }
        Ok(changed)
    }
}

/// Replays reports. One that came first on the journal takes the place of what stands there instead.
pub(in crate::worker) async fn replay_reports(
    router: &Router,
    target: ReplayTarget<'_>,
    events: &[OrderReplay],
) -> Result<u64, StoreRebuildError> {
    let (mut changed, conflicts) = router
        .store
        .replay_orders_with_conflicts(target.rebuild(), events, None)
        .await?;
    for event in conflicts.into_iter().filter_map(|at| events.get(at)) {
        changed += replace_with_earlier(router, target, event).await?;
    }
    Ok(changed)
}

/// Puts an event in the place of what stands there and came later on the journal: another order of the same id, or
/// another effect of the same version. A rebuild would come to the same.
async fn replace_with_earlier(
    router: &Router,
    target: ReplayTarget<'_>,
    event: &OrderReplay,
) -> Result<u64, StoreRebuildError> {
    for _ in 0..MAX_REPLACE_ATTEMPTS {
        if let Some(changed) = try_replace_with_earlier(router, target, event).await? {
            return Ok(changed);
        }
        // What stands there has changed since it was looked at: its owner is at work on it.
        tokio::time::sleep(REPLACE_RETRY_DELAY).await;
    }
    Err(StoreRebuildError::Journal(format!(
        "what stands in the place of order {} changes faster than it can be put there; it is tried again",
        event.order.order_id
    )))
}

/// Returns how many events changed something; `None` where what stands there changed meanwhile.
async fn try_replace_with_earlier(
    router: &Router,
    target: ReplayTarget<'_>,
    event: &OrderReplay,
) -> Result<Option<u64>, StoreRebuildError> {
    let settled = |(changed, conflicts): (u64, Vec<usize>)| conflicts.is_empty().then_some(changed);
    let key = OrderKey::of(&event.order);
    let record = match target {
        ReplayTarget::Rebuilding(healing) => router.store.read_order_for_rebuild(healing, &key).await?,
        ReplayTarget::InUse => router.store.read_order(&key).await?,
    };
    let events = std::slice::from_ref(event);
    let Some(record) = record else {
        return Ok(settled(
            router
                .store
                .replay_orders_with_conflicts(target.rebuild(), events, None)
                .await?,
        ));
    };
    let (first, stands) = (&event.order.order_id, &record.known.order_id);
    if first == stands && record.known.version < event.order.version {
        // What it follows has just been put in its place.
        return Ok(settled(
            router
                .store
                .replay_orders_with_conflicts(target.rebuild(), events, None)
                .await?,
        ));
    }
    if announced::places_at_venue(router, &event.order.broker) {
        tracing::error!(%first, %stands, "two orders or effects of one id at a venue that outlives us: both stand there");
        return Ok(Some(0));
    }
    let order = load_stored_order(router, &record).await?;
    let whole = OrderReplay {
        deltas: event.order.total_deltas,
        ..event.clone()
    };
    let supplanted = ConflictingOrder { order };
    let replayed = router
        .store
        .replay_orders_with_conflicts(target.rebuild(), &[whole], Some(&supplanted))
        .await?;
    let replayed = settled(replayed);
    if replayed.is_some() {
        tracing::error!(
            %first,
            %stands,
            version = event.order.version,
            "of two orders or effects of one id the first on the journal counts: the other is void, and its moves are undone"
        );
    }
    Ok(replayed)
}

/// Returns the order a record is of, from the journal where only that still has its document.
async fn load_stored_order(router: &Router, record: &StoredOrder) -> Result<Order, StoreRebuildError> {
    if !record.document.is_empty() {
        return Ok(current_report::order_from_document(&record.document)?);
    }
    let sequence = record.known.journal_sequence;
    let stored = router.journal_reader.read_entry(sequence).await?;
    let stored = stored.ok_or_else(|| StoreRebuildError::Journal(format!("the journal has no entry {sequence}")))?;
    let order = current_report::order_from_document(&stored.body)?;
    if order.order_id == record.known.order_id && order.version == record.known.version {
        return Ok(order);
    }
    Err(StoreRebuildError::Journal(format!(
        "the journal's entry {sequence} is another order's"
    )))
}

/// Replays a part of the journal.
pub(in crate::worker) async fn replay_range(
    router: &Router,
    target: ReplayTarget<'_>,
    first_sequence: u64,
    last_sequence: u64,
) -> Result<ReplaySummary, StoreRebuildError> {
    // What was settled in the epoch in force is in the store: an event's epoch is read before the store settles it.
    let in_force = match target {
        ReplayTarget::Rebuilding(_) => None,
        ReplayTarget::InUse => router.store.epoch(),
    };
    let is_known = |entry: &StoredEntry| {
        in_force.is_some() && read_settlement_header(&entry.body).map(|header| header.epoch) == in_force
    };
    let mut replayed = ReplaySummary::default();
    let mut entries = std::pin::pin!(router.journal_reader.replay(first_sequence, last_sequence));
    let mut run = ReplayBatch::default();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if subjects::is_adjustment(&entry.subject) {
            // What came before it goes first: the store's watermark must not pass an entry that is still to be applied.
            replayed.changed += run.flush(router, target).await?;
            let healing = match target {
                ReplayTarget::Rebuilding(healing) => Some(healing),
                ReplayTarget::InUse => None,
            };
            let (epoch, changed) = adjustments::replay_adjustment(router, healing, &entry).await?;
            replayed.newest_epoch = replayed.newest_epoch.max(epoch);
            replayed.changed += u64::from(changed);
            continue;
        }
        let unknown = Some(entry).filter(|entry| !is_known(entry));
        let Some((event, epoch)) = unknown.map(item_from_entry).transpose()?.flatten() else {
            continue;
        };
        replayed.newest_epoch = replayed.newest_epoch.max(epoch);
        if run.must_flush_before(&event) {
            replayed.changed += run.flush(router, target).await?;
        }
        run.push(event);
    }
    replayed.changed += run.flush(router, target).await?;
    Ok(replayed)
}

/// Reads a journal entry, with the epoch it is of; `None` for events that are no order's.
fn item_from_entry(entry: StoredEntry) -> Result<Option<(ReplayItem, i64)>, StoreRebuildError> {
    let unreadable = |error| StoreRebuildError::Journal(format!("the journal's entry {}: {error}", entry.sequence));
    if subjects::is_report(&entry.subject) {
        let (order, settlement) = decode_journal_report(&entry.body).map_err(unreadable)?;
        let event = OrderReplay {
            order,
            deltas: settlement.deltas.into(),
            sequence: entry.sequence,
            document: entry.body,
        };
        return Ok(Some((ReplayItem::Report(event), settlement.epoch)));
    }
    let is_released = match subjects::parse_event_kind(&entry.subject) {
        Some(SUBMITTING_EVENT_KIND) => false,
        Some(RELEASED_EVENT_KIND) => true,
        _ => return Ok(None),
    };
    let submission = decode_submission(&entry.body).map_err(unreadable)?;
    let event = SubmissionReplay {
        order: submission.order,
        claim_token: submission.claim,
        reserved: submission.deltas,
        is_released,
        sequence: entry.sequence,
        document: submission.report_json,
    };
    Ok(Some((ReplayItem::Submission(event), submission.epoch)))
}
