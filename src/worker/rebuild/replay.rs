//! The replay of journal entries into the store: reports, submissions, releases and adjustments, in the journal's
//! order.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::bus::connection::BusError;
use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::order_key::OrderKey;
use crate::store::orders::read::StoredOrder;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::rebuild::orders::{ConflictingOrder, OrderReplay};
use crate::store::rebuild::submissions::SubmissionReplay;
use crate::wire::journal_report::{SettlementHeader, decode_journal_report, read_settlement_header};
use crate::wire::journaled_submission::decode_submission;
use crate::wire::settlement::InvalidSettledQuantity;
use crate::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND};
use crate::worker::adjustments::booking::booking_from_event;
use crate::worker::journaling::order_document::load_stored_order;
use crate::worker::journaling::report_entry;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::lost_entries;
use crate::worker::rebuild::replay_target::ReplayTarget;
use crate::worker::router::Router;

/// How often an event replaces one that is later on the journal, while that one changes.
const MAX_REPLACE_ATTEMPTS: usize = 20;
/// The pause between two attempts.
const REPLACE_RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(10);
/// The most events that one script call replays: as many as keep Redis for some tenths of a millisecond.
const REPLAY_BATCH_SIZE: usize = 16;

/// The result of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::worker) struct ReplaySummary {
    /// The newest epoch among the events.
    pub newest_epoch: i64,
    /// How many events changed the store.
    pub changed: u64,
}

pub(super) enum ReplayItem {
    Report(OrderReplay),
    Submission(SubmissionReplay),
}

/// Successive events of one kind, which one script call replays.
#[derive(Default)]
struct ReplayBatch {
    reports: Vec<OrderReplay>,
    submissions: Vec<SubmissionReplay>,
}

impl ReplayBatch {
    /// Reports whether this batch has to be replayed before the event is added.
    fn must_flush_before(&self, event: &ReplayItem) -> bool {
        match event {
            ReplayItem::Report(..) => !self.submissions.is_empty() || self.reports.len() == REPLAY_BATCH_SIZE,
            ReplayItem::Submission(_) => !self.reports.is_empty() || self.submissions.len() == REPLAY_BATCH_SIZE,
        }
    }

    fn push(&mut self, event: ReplayItem) {
        match event {
            ReplayItem::Report(event) => self.reports.push(event),
            ReplayItem::Submission(event) => self.submissions.push(event),
        }
    }

    /// Replays the batch and empties it. Returns how many events changed the store.
    async fn flush(&mut self, router: &Router, target: ReplayTarget<'_>) -> Result<u64, StoreRebuildError> {
        let mut changed = 0;
        if !self.reports.is_empty() {
            changed += replay_reports(router, target, &self.reports).await?;
            self.reports.clear();
        }
        if !self.submissions.is_empty() {
            changed += match target {
                ReplayTarget::Rebuilding(rebuild) => {
                    router.store.replay_submissions(rebuild, &self.submissions).await?
                }
                ReplayTarget::InUse => router.store.replay_late_submissions(&self.submissions).await?,
            };
            self.submissions.clear();
        }
        Ok(changed)
    }
}

/// Replays reports. Returns how many changed the store. A report replaces one that is later on the journal and
/// conflicts with it.
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

/// What came of an attempt to replay an event in the place of another.
enum Attempt {
    /// It is replayed, or does not count; how many events changed the store.
    Done(u64),
    /// The stored record changed in between.
    Changed,
    /// It builds on another effect than the one in the store.
    BuildsOnAnother,
}

/// Replaces what is stored in an event's place and is later on the journal: another order of the same id, or another
/// effect of the same version. A rebuild has the same result.
async fn replace_with_earlier(
    router: &Router,
    target: ReplayTarget<'_>,
    event: &OrderReplay,
) -> Result<u64, StoreRebuildError> {
    let mut builds_on_another = false;
    for _ in 0..MAX_REPLACE_ATTEMPTS {
        builds_on_another = match try_replace_with_earlier(router, target, event).await? {
            Attempt::Done(changed) => return Ok(changed),
            // The stored record's owner is still working on it.
            Attempt::Changed => false,
            // The effect that it builds on may be about to be put in its place.
            Attempt::BuildsOnAnother => true,
        };
        tokio::time::sleep(REPLACE_RETRY_DELAY).await;
    }
    let order_id = &event.order.order_id;
    if builds_on_another {
        tracing::error!(
            %order_id,
            version = event.order.version,
            "an effect builds on another one than the store has, and is void: compare with the venue, or rebuild the store"
        );
        return Ok(0);
    }
    Err(StoreRebuildError::Journal(format!(
        "the record in the place of order {order_id} changes faster than it can be replaced; the replay is tried again"
    )))
}

/// Replaces the stored record once.
async fn try_replace_with_earlier(
    router: &Router,
    target: ReplayTarget<'_>,
    event: &OrderReplay,
) -> Result<Attempt, StoreRebuildError> {
    let replay = async |event: &OrderReplay, conflicting: Option<&ConflictingOrder>, otherwise: Attempt| {
        let events = std::slice::from_ref(event);
        let replayed = router
            .store
            .replay_orders_with_conflicts(target.rebuild(), events, conflicting);
        replayed.await.map(|(changed, conflicts)| match conflicts.is_empty() {
            true => Attempt::Done(changed),
            false => otherwise,
        })
    };
    let key = event.order.key();
    let Some(record) = target.read_order(router, &key).await? else {
        return Ok(replay(event, None, Attempt::Changed).await?);
    };
    let (first, stored) = (&event.order.order_id, &record.known.order_id);
    if first == stored && record.known.version < event.order.version {
        // The event's predecessor has just been put in its place, or another effect is there.
        return Ok(replay(event, None, Attempt::BuildsOnAnother).await?);
    }
    if router.places_at_venue(&event.order) {
        tracing::error!(
            %first, %stored,
            "two orders or effects have one id, and both may be at their venue: compare with the venue and adjust the account"
        );
        return Ok(Attempt::Done(0));
    }
    if record.known.journaled_version < record.known.version {
        // Only the journal says which of the two came first.
        journal_waiting_events(router, target, &record).await?;
        return Ok(replay(event, None, Attempt::Changed).await?);
    }
    let order = load_stored_order(&router.journal_reader, &record).await?;
    let whole = lost_entries::from_nothing(event)?;
    let conflicting = ConflictingOrder { order };
    let replayed = replay(&whole, Some(&conflicting), Attempt::Changed).await?;
    if matches!(replayed, Attempt::Done(_)) {
        tracing::error!(
            %first,
            %stored,
            version = event.order.version,
            "two orders or effects have one id: the first on the journal counts, the other is void and its deltas are undone"
        );
    }
    Ok(replayed)
}

/// Appends the events of a stored order that the journal may not have, and puts them into the store as journaled. An event
/// that was appended before is the same event.
async fn journal_waiting_events(
    router: &Router,
    target: ReplayTarget<'_>,
    record: &StoredOrder,
) -> Result<(), StoreRebuildError> {
    let Some(last) = record.pending_events.last() else {
        return Ok(());
    };
    let (last, _) = report_from_body(&last.body, 0).map_err(StoreRebuildError::Journal)?;
    let entries = report_entry::journal_entries(&last.order, &record.pending_events, None);
    let appended = router.journal_writer.append_in_order(entries).await;
    let sequences = appended.map_err(|error| StoreRebuildError::Journal(error.to_string()))?;
    for (event, sequence) in record.pending_events.iter().zip(sequences) {
        let (event, _) = report_from_body(&event.body, sequence).map_err(StoreRebuildError::Journal)?;
        let events = std::slice::from_ref(&event);
        router
            .store
            .replay_orders_with_conflicts(target.rebuild(), events, None)
            .await?;
    }
    Ok(())
}

/// Returns a report to replay from its document, and what identifies its settlement.
///
/// # Errors
/// What is wrong with the document.
pub(in crate::worker) fn report_from_body(
    body: &Bytes,
    sequence: u64,
) -> Result<(OrderReplay, SettlementHeader), String> {
    let (order, settlement) = decode_journal_report(body).map_err(|error| error.to_string())?;
    let deltas = settlement.deltas.try_into();
    let header = SettlementHeader {
        id: settlement.id,
        epoch: Some(settlement.epoch),
    };
    let event = OrderReplay {
        order,
        deltas: deltas.map_err(|error: InvalidSettledQuantity| error.to_string())?,
        booked_on: settlement.booked_on,
        earlier_days: Vec::new(),
        sequence,
        document: body.clone(),
    };
    Ok((event, header))
}

/// Replays the journal's entries from `first_sequence` to `last_sequence`, both included.
pub(in crate::worker) async fn replay_range(
    router: &Router,
    target: ReplayTarget<'_>,
    first_sequence: u64,
    last_sequence: u64,
) -> Result<ReplaySummary, StoreRebuildError> {
    // What was settled in the active epoch is in the store: an event's epoch is read before the store settles it.
    let active_epoch = match target {
        ReplayTarget::Rebuilding(_) => None,
        ReplayTarget::InUse => router.store.epoch(),
    };
    let is_known =
        |entry: &StoredEntry| active_epoch.is_some() && read_settlement_header(&entry.body).epoch == active_epoch;
    let mut replayed = ReplaySummary::default();
    let mut entries = std::pin::pin!(router.journal_reader.replay(first_sequence, last_sequence));
    let mut batch = ReplayBatch::default();
    // Whether entries are missing whose loss an operator accepted.
    let mut has_lost_entries = false;
    while let Some(entry) = entries.next().await {
        let entry = match entry {
            Err(BusError::JournalGap { from, to }) => {
                lost_entries::check_accepted(&router.journal_reader, from, to).await?;
                has_lost_entries = true;
                continue;
            }
            entry => entry?,
        };
        if subjects::is_adjustment(&entry.subject) {
            // The batch goes first: the store's watermark must not pass an entry that is not applied yet.
            replayed.changed += batch.flush(router, target).await?;
            let (booking, epoch) = booking_from_event(&entry.body)?;
            let changed = router
                .store
                .replay_adjustment(target.rebuild(), &booking, entry.sequence)
                .await?;
            replayed.newest_epoch = replayed.newest_epoch.max(epoch);
            replayed.changed += u64::from(changed);
            continue;
        }
        let unknown = Some(entry).filter(|entry| !is_known(entry));
        let Some((mut event, epoch)) = unknown.map(item_from_entry).transpose()?.flatten() else {
            continue;
        };
        replayed.newest_epoch = replayed.newest_epoch.max(epoch);
        if let (true, ReplayItem::Report(report)) = (has_lost_entries, &mut event)
            && report.order.version > 1
        {
            replayed.changed += batch.flush(router, target).await?;
            if lost_entries::include_lost_versions(router, target, report).await? {
                replayed.changed += 1;
                continue;
            }
        }
        if batch.must_flush_before(&event) {
            replayed.changed += batch.flush(router, target).await?;
        }
        batch.push(event);
    }
    replayed.changed += batch.flush(router, target).await?;
    Ok(replayed)
}

/// Replays the submissions and releases of orders whose claims a rebuild finds, up to the store's watermark. What else is
/// there is in the store; entries that the journal has lost are passed over.
pub(super) async fn replay_submissions_of(
    router: &Router,
    rebuild: &StoreRebuild,
    claims: &[(OrderKey, u64)],
) -> Result<(), StoreRebuildError> {
    let oldest = claims.iter().map(|(_, after)| *after).min();
    let Some(oldest) = oldest.filter(|after| *after < rebuild.journal_sequence) else {
        return Ok(());
    };
    let claimed: HashSet<&OrderKey> = claims.iter().map(|(key, _)| key).collect();
    let target = ReplayTarget::Rebuilding(rebuild);
    let mut batch = ReplayBatch::default();
    let mut entries = std::pin::pin!(router.journal_reader.replay(oldest + 1, rebuild.journal_sequence));
    while let Some(entry) = entries.next().await {
        let entry = match entry {
            Err(BusError::JournalGap { .. }) => continue,
            entry => entry?,
        };
        if subjects::is_report(&entry.subject) || subjects::is_adjustment(&entry.subject) {
            continue;
        }
        if let Some((ReplayItem::Submission(submission), _)) = item_from_entry(entry)?
            && claimed.contains(&submission.order.key())
        {
            let event = ReplayItem::Submission(submission);
            if batch.must_flush_before(&event) {
                batch.flush(router, target).await?;
            }
            batch.push(event);
        }
    }
    batch.flush(router, target).await.map(drop)
}

/// Decodes a journal entry. Returns it with its epoch; `None` for an event that is no order's.
pub(super) fn item_from_entry(entry: StoredEntry) -> Result<Option<(ReplayItem, i64)>, StoreRebuildError> {
    let unreadable = |error| StoreRebuildError::Journal(format!("the journal's entry {}: {error}", entry.sequence));
    if subjects::is_report(&entry.subject) {
        let event = report_from_body(&entry.body, entry.sequence);
        let (event, settlement) = event.map_err(|problem| {
            StoreRebuildError::Journal(format!("the journal's entry {}: {problem}", entry.sequence))
        })?;
        return Ok(Some((ReplayItem::Report(event), settlement.epoch.unwrap_or_default())));
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
