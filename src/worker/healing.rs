//! A store that is not the one we know: emptied, restarted, restored from an older copy. It is taken out of use, the
//! journal is replayed from what it still knows, and a new epoch is put in force.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::router::Router;
use super::{lookup, state};
use crate::bus::BusError;
use crate::bus::journal::{JournalInfo, Stored};
use crate::bus::subjects;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::store::StoreError;
use crate::store::epoch::{Begun, Healing, StoreLook};
use crate::store::replay::ReplayEvent;
use crate::store::state::StateOutcome;
use crate::wire::settlement::read_document;

/// How often a store that is out of use is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a store in use is compared with the journal.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// How long after a healing events of the epoch before it may still arrive: longer than any append is tried.
const LATE_FOR: Duration = Duration::from_secs(30);
/// How often they are looked for.
const LATE_EVERY: Duration = Duration::from_secs(1);
/// How many events one script call replays.
const REPLAY_BATCH: usize = 256;

/// What is still to be looked at after a healing.
#[derive(Debug)]
pub struct Late {
    /// The first sequence that has not been replayed.
    next: u64,
    /// When no late event is expected any more.
    until: Instant,
}

/// Why a store could not be made whole.
#[derive(Debug, thiserror::Error)]
pub enum HealingError {
    /// Redis did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal did not answer.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The journal holds something that cannot be replayed.
    #[error("{0}")]
    Journal(String),
    /// The journal has lost entries that the store knows of.
    #[error(
        "the journal ends at {last_sequence} (created {created}), and the shared state has seen {seen} of the one \
         created {seen_created}: the stream has been restored, cut or replaced. No order is taken. Restore the stream, \
         or, if the loss is accepted, empty Redis so that it is rebuilt from the journal as it is"
    )]
    JournalBehind {
        /// The journal's last sequence.
        last_sequence: u64,
        /// When the journal was created.
        created: String,
        /// The highest sequence the store knows of.
        seen: u64,
        /// When the journal the store knows was created.
        seen_created: String,
    },
    /// Another worker is healing.
    #[error("another worker is rebuilding the shared state")]
    Busy,
}

impl From<Fault> for HealingError {
    fn from(fault: Fault) -> Self {
        Self::Journal(fault.detail)
    }
}

/// Keeps the store whole until it is stopped.
pub(super) async fn run(router: Router, mut late: Option<Late>, stop: CancellationToken) {
    let mut told = String::new();
    while !stop.is_cancelled() {
        let pause = match check(&router).await {
            Ok(healed) => {
                told.clear();
                late = healed.or(late);
                match follow(&router, &mut late).await {
                    Ok(true) => LATE_EVERY,
                    Ok(false) => COMPARE_EVERY,
                    Err(error) => {
                        tracing::warn!(%error, "late events of the journal are looked for again");
                        LATE_EVERY
                    }
                }
            }
            Err(error) => {
                let text = error.to_string();
                if text != told {
                    tracing::error!(error = text, "no order is taken until the shared state is whole");
                    told = text;
                }
                LOOK_EVERY
            }
        };
        wait(&router, &stop, pause).await;
    }
}

/// Waits for the next look; a store that falls out of use ends the wait.
async fn wait(router: &Router, stop: &CancellationToken, pause: Duration) {
    let end = Instant::now() + pause;
    while Instant::now() < end && !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY.min(pause)) => {}
        }
        if router.store.epoch().is_none() && pause > LOOK_EVERY {
            return;
        }
    }
}

/// Compares a store in use with the journal; makes one that is out of use whole.
///
/// # Errors
/// Why it is not whole; it is out of use then.
pub async fn check(router: &Router) -> Result<Option<Late>, HealingError> {
    let look = router.store.look().await?;
    let info = router.reader.info().await?;
    router.room.note(&info);
    if let Err(error) = not_behind(&look, &info) {
        router.store.leave();
        return Err(error);
    }
    let late = match look.epoch_in_force() {
        Some(epoch) if router.store.epoch() == Some(epoch) => None,
        Some(epoch) => {
            router.store.join(epoch);
            None
        }
        None => {
            router.store.leave();
            heal(router, &look, &info).await?
        }
    };
    state::adopt_journaled(router).await?;
    Ok(late)
}

/// Replays what has been appended since the healing, while workers of the epoch before it may still be appending: what
/// they settled may be missing in a store that was restored from an older copy. Returns whether it goes on.
async fn follow(router: &Router, late: &mut Option<Late>) -> Result<bool, HealingError> {
    let Some(open) = late else { return Ok(false) };
    let to = router.reader.info().await?.last_sequence;
    if open.next <= to {
        let mut entries = std::pin::pin!(router.reader.replay(open.next, to));
        let mut events = Vec::new();
        while let Some(entry) = entries.next().await {
            events.extend(event_of(entry?)?.map(|(event, _)| event));
            if events.len() == REPLAY_BATCH {
                tell_late(router.store.replay_late(&events).await?);
                events.clear();
            }
        }
        if !events.is_empty() {
            tell_late(router.store.replay_late(&events).await?);
        }
        open.next = to + 1;
    }
    if Instant::now() < open.until {
        return Ok(true);
    }
    *late = None;
    Ok(false)
}

fn tell_late(events: u64) {
    if events > 0 {
        tracing::warn!(events, "late events of the epoch before the healing were replayed");
    }
}

fn not_behind(look: &StoreLook, info: &JournalInfo) -> Result<(), HealingError> {
    let created = info.created.to_string();
    let is_same = look.journal_created.is_empty() || look.journal_created == created;
    if is_same && info.last_sequence >= look.journal_sequence {
        return Ok(());
    }
    Err(HealingError::JournalBehind {
        last_sequence: info.last_sequence,
        created,
        seen: look.journal_sequence,
        seen_created: look.journal_created.clone(),
    })
}

/// Rebuilds what the store lacks from the journal, into an empty store or from where the store stands.
async fn heal(router: &Router, look: &StoreLook, info: &JournalInfo) -> Result<Option<Late>, HealingError> {
    let healing = match router.store.begin_healing(look).await? {
        Begun::Healing(healing) => healing,
        Begun::Busy => return Err(HealingError::Busy),
        Begun::Healed => {
            router.store.join(healed_epoch(router).await?);
            return Ok(None);
        }
    };
    if look.epoch.is_empty() && info.last_sequence == 0 {
        tracing::info!("a new router: the shared state is set up");
    } else {
        tracing::warn!(
            from = healing.journal_sequence + 1,
            to = info.last_sequence,
            found = look.epoch,
            "the shared state is rebuilt from the journal"
        );
    }
    release_claims(router, &healing).await?;
    // What was appended until now is replayed; what others append later belongs to an epoch that is over, and its
    // settlement is in this store already.
    let info = router.reader.info().await?;
    let newest_epoch = replay(router, &healing, info.last_sequence).await?;
    restore_state(router, &healing).await?;
    let epoch = Timestamp::now()
        .milliseconds()
        .max(newest_epoch + 1)
        .max(look.epoch.parse().unwrap_or(0) + 1);
    router
        .store
        .finish_healing(healing, epoch, &info.created.to_string())
        .await?;
    tracing::info!(epoch, "the shared state is whole");
    Ok(Some(Late {
        next: info.last_sequence + 1,
        until: Instant::now() + LATE_FOR,
    }))
}

async fn healed_epoch(router: &Router) -> Result<i64, HealingError> {
    router.store.look().await?.epoch_in_force().ok_or(HealingError::Busy)
}

/// Releases every claim of the epoch that is over: none of them was sent, and none of them can be.
async fn release_claims(router: &Router, healing: &Healing) -> Result<(), HealingError> {
    loop {
        let claims = router.store.claims_to_heal(healing).await?;
        let mut released = 0;
        for claim in &claims {
            let Some(lease) = &claim.lease else { continue };
            let order = lookup::order_of(&claim.document)?;
            released += usize::from(router.store.release_to_heal(healing, &order, lease).await?);
        }
        if released == 0 {
            return Ok(());
        }
    }
}

/// Replays the journal after what the store knows, and returns the newest epoch it met.
async fn replay(router: &Router, healing: &Healing, to: u64) -> Result<i64, HealingError> {
    let from = healing.journal_sequence + 1;
    let mut newest_epoch = 0;
    if from > to {
        return Ok(newest_epoch);
    }
    let mut entries = std::pin::pin!(router.reader.replay(from, to));
    let mut batch = Vec::with_capacity(REPLAY_BATCH);
    while let Some(entry) = entries.next().await {
        let Some((event, epoch)) = event_of(entry?)? else {
            continue;
        };
        newest_epoch = newest_epoch.max(epoch);
        batch.push(event);
        if batch.len() == REPLAY_BATCH {
            router.store.replay(healing, &batch).await?;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        router.store.replay(healing, &batch).await?;
    }
    Ok(newest_epoch)
}

/// Reads a journal entry; `None` for events that are no order's.
fn event_of(entry: Stored) -> Result<Option<(ReplayEvent, i64)>, HealingError> {
    if !subjects::is_report(&entry.subject) {
        return Ok(None);
    }
    let (order, settlement) = read_document(&entry.body)
        .map_err(|error| HealingError::Journal(format!("the journal's entry {}: {error}", entry.sequence)))?;
    let event = ReplayEvent {
        order,
        deltas: settlement.deltas.into(),
        sequence: entry.sequence,
        document: entry.body,
    };
    Ok(Some((event, settlement.epoch)))
}

/// Puts the newest journaled change of the shared state in force.
async fn restore_state(router: &Router, healing: &Healing) -> Result<(), HealingError> {
    let Some((event, document)) = state::last_event(router).await? else {
        return Ok(());
    };
    let state = router.store.state_to_heal(healing).await?;
    if event.version <= state.version {
        return Ok(());
    }
    let set = state::change_of(&event, &document, state.version)?;
    match router.store.set_state_to_heal(healing, &set).await? {
        StateOutcome::Changed(_) => Ok(()),
        StateOutcome::Superseded(_) => Err(HealingError::Busy),
    }
}
