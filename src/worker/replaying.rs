//! From the journal's entries to the store: reports, and the submissions and releases between them, in the journal's order.

use futures_util::StreamExt;

use super::adjust;
use super::healing::HealingError;
use super::router::Router;
use super::{lookup, submission};
use crate::bus::journal::Stored;
use crate::bus::subjects;
use crate::domain::order::Order;
use crate::store::epoch::Healing;
use crate::store::keys::OrderKey;
use crate::store::read::Record;
use crate::store::replay::{ReplayEvent, Supplanted};
use crate::store::replay_submission::SubmissionReplay;
use crate::wire::settlement::{epoch_of, read_document};
use crate::wire::submission::{RELEASED, SUBMITTING, read_submission};

/// How often an event is tried to be put in the place of one that came later on the journal, while that one changes.
const PUT_FIRST_TRIES: usize = 20;
/// The pause between two tries.
const PUT_FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
/// How many events one script call replays.
const REPLAY_BATCH: usize = 256;

/// The store that is replayed into.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// One that is being healed.
    Healing(&'a Healing),
    /// One that is in use: late events of the epoch before.
    InUse,
}

impl<'a> Target<'a> {
    fn healing(self) -> Option<&'a Healing> {
        match self {
            Self::Healing(healing) => Some(healing),
            Self::InUse => None,
        }
    }
}

/// What a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Replayed {
    /// The newest epoch it met.
    pub newest_epoch: i64,
    /// How many events changed something.
    pub changed: u64,
}

enum Event {
    Report(ReplayEvent),
    Submission(SubmissionReplay),
}

/// Events of one kind that follow each other on the journal.
#[derive(Default)]
struct Run {
    reports: Vec<ReplayEvent>,
    submissions: Vec<SubmissionReplay>,
}

impl Run {
    /// Whether an event has to wait until this run has been replayed.
    fn ends_before(&self, event: &Event) -> bool {
        match event {
            Event::Report(_) => !self.submissions.is_empty() || self.reports.len() == REPLAY_BATCH,
            Event::Submission(_) => !self.reports.is_empty() || self.submissions.len() == REPLAY_BATCH,
        }
    }

    fn push(&mut self, event: Event) {
        match event {
            Event::Report(event) => self.reports.push(event),
            Event::Submission(event) => self.submissions.push(event),
        }
    }

    /// Applies the run and empties it; returns how many events changed something.
    async fn apply(&mut self, router: &Router, target: Target<'_>) -> Result<u64, HealingError> {
        let mut changed = 0;
        if !self.reports.is_empty() {
            changed += reports(router, target, &self.reports).await?;
            self.reports.clear();
        }
        if !self.submissions.is_empty() {
            changed += match target {
                Target::Healing(healing) => router.store.replay_submissions(healing, &self.submissions).await?,
                Target::InUse => router.store.replay_late_submissions(&self.submissions).await?,
            };
            self.submissions.clear();
        }
        Ok(changed)
    }
}

/// Replays reports. One that came first on the journal takes the place of what stands there instead.
pub(super) async fn reports(router: &Router, target: Target<'_>, events: &[ReplayEvent]) -> Result<u64, HealingError> {
    let (mut changed, conflicts) = router.store.replay_noting(target.healing(), events, None).await?;
    for event in conflicts.into_iter().filter_map(|at| events.get(at)) {
        changed += put_first(router, target, event).await?;
    }
    Ok(changed)
}

/// Puts an event in the place of what stands there and came later on the journal: another order of the same id, or
/// another effect of the same version. A rebuild would come to the same.
async fn put_first(router: &Router, target: Target<'_>, event: &ReplayEvent) -> Result<u64, HealingError> {
    for _ in 0..PUT_FIRST_TRIES {
        if let Some(changed) = try_to_put_first(router, target, event).await? {
            return Ok(changed);
        }
        // What stands there has changed since it was looked at: its owner is at work on it.
        tokio::time::sleep(PUT_FIRST_PAUSE).await;
    }
    Err(HealingError::Journal(format!(
        "what stands in the place of order {} changes faster than it can be put there; it is tried again",
        event.order.order_id
    )))
}

/// Returns how many events changed something; `None` where what stands there changed meanwhile.
async fn try_to_put_first(
    router: &Router,
    target: Target<'_>,
    event: &ReplayEvent,
) -> Result<Option<u64>, HealingError> {
    let settled = |(changed, conflicts): (u64, Vec<usize>)| conflicts.is_empty().then_some(changed);
    let key = OrderKey::of(&event.order);
    let record = match target {
        Target::Healing(healing) => router.store.read_to_heal(healing, &key).await?,
        Target::InUse => router.store.read(&key).await?,
    };
    let events = std::slice::from_ref(event);
    let Some(record) = record else {
        return Ok(settled(
            router.store.replay_noting(target.healing(), events, None).await?,
        ));
    };
    let (first, stands) = (&event.order.order_id, &record.known.order_id);
    if first == stands && record.known.version < event.order.version {
        // What it follows has just been put in its place.
        return Ok(settled(
            router.store.replay_noting(target.healing(), events, None).await?,
        ));
    }
    if submission::outlives_us(router, &event.order.broker) {
        tracing::error!(%first, %stands, "two orders or effects of one id at a venue that outlives us: both stand there");
        return Ok(Some(0));
    }
    let order = as_it_stands(router, &record).await?;
    let whole = ReplayEvent {
        deltas: event.order.moved,
        ..event.clone()
    };
    let supplanted = Supplanted { order };
    let replayed = router
        .store
        .replay_noting(target.healing(), &[whole], Some(&supplanted))
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
async fn as_it_stands(router: &Router, record: &Record) -> Result<Order, HealingError> {
    if !record.document.is_empty() {
        return Ok(lookup::order_of(&record.document)?);
    }
    let sequence = record.known.journal_sequence;
    let stored = router.reader.get(sequence).await?;
    let stored = stored.ok_or_else(|| HealingError::Journal(format!("the journal has no entry {sequence}")))?;
    let order = lookup::order_of(&stored.body)?;
    if order.order_id == record.known.order_id && order.version == record.known.version {
        return Ok(order);
    }
    Err(HealingError::Journal(format!(
        "the journal's entry {sequence} is another order's"
    )))
}

/// Replays a part of the journal.
pub(super) async fn replay(router: &Router, target: Target<'_>, from: u64, to: u64) -> Result<Replayed, HealingError> {
    // What was settled in the epoch in force is in the store: an event's epoch is read before the store settles it.
    let in_force = match target {
        Target::Healing(_) => None,
        Target::InUse => router.store.epoch(),
    };
    let is_known = |entry: &Stored| in_force.is_some() && epoch_of(&entry.body) == in_force;
    let mut replayed = Replayed::default();
    let mut entries = std::pin::pin!(router.reader.replay(from, to));
    let mut run = Run::default();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if subjects::is_adjustment(&entry.subject) {
            // What came before it goes first: the store's watermark must not pass an entry that is still to be applied.
            replayed.changed += run.apply(router, target).await?;
            let healing = match target {
                Target::Healing(healing) => Some(healing),
                Target::InUse => None,
            };
            let (epoch, changed) = adjust::replay(router, healing, &entry).await?;
            replayed.newest_epoch = replayed.newest_epoch.max(epoch);
            replayed.changed += u64::from(changed);
            continue;
        }
        let unknown = Some(entry).filter(|entry| !is_known(entry));
        let Some((event, epoch)) = unknown.map(event_of).transpose()?.flatten() else {
            continue;
        };
        replayed.newest_epoch = replayed.newest_epoch.max(epoch);
        if run.ends_before(&event) {
            replayed.changed += run.apply(router, target).await?;
        }
        run.push(event);
    }
    replayed.changed += run.apply(router, target).await?;
    Ok(replayed)
}

/// Reads a journal entry, with the epoch it is of; `None` for events that are no order's.
fn event_of(entry: Stored) -> Result<Option<(Event, i64)>, HealingError> {
    let unreadable = |error| HealingError::Journal(format!("the journal's entry {}: {error}", entry.sequence));
    if subjects::is_report(&entry.subject) {
        let (order, settlement) = read_document(&entry.body).map_err(unreadable)?;
        let event = ReplayEvent {
            order,
            deltas: settlement.deltas.into(),
            sequence: entry.sequence,
            document: entry.body,
        };
        return Ok(Some((Event::Report(event), settlement.epoch)));
    }
    let is_released = match subjects::event_kind(&entry.subject) {
        Some(SUBMITTING) => false,
        Some(RELEASED) => true,
        _ => return Ok(None),
    };
    let submission = read_submission(&entry.body).map_err(unreadable)?;
    let event = SubmissionReplay {
        order: submission.order,
        claim: submission.claim,
        reserved: submission.reserved,
        is_released,
        sequence: entry.sequence,
        document: submission.document,
    };
    Ok(Some((Event::Submission(event), submission.epoch)))
}
