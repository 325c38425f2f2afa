//! A store that is not the one we know: emptied, restarted, restored from an older copy. It is taken out of use, the
//! journal is replayed from what it still knows, and a new epoch is put in force.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::replaying::{self, Target};
use super::router::Router;
use super::{adjust, day, locks, lookup, state_journal, submission};
use crate::bus::BusError;
use crate::bus::journal::JournalInfo;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::store::StoreError;
use crate::store::epoch::{Begun, Healing, LateEvents, StoreLook};
use crate::store::read::Record;
use crate::store::reserve::Stage;
use crate::store::state::StateOutcome;

/// How often a store that is out of use is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a store in use is compared with the journal.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// How long after a healing events of the epoch before it may still arrive: longer than any append is tried.
const LATE_FOR: Duration = Duration::from_secs(30);
/// How often they are looked for.
const LATE_EVERY: Duration = Duration::from_secs(1);

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
    /// The journal has lost entries that this worker has seen acknowledged.
    #[error(
        "the journal ends at {last_sequence}, and this worker has seen {seen} acknowledged, or a new entry in the place \
         of an older one: the stream has been restored or cut. No order is taken. Restore the stream, or, if the loss is \
         accepted, empty Redis so that it is rebuilt from the journal as it is; then restart the workers"
    )]
    JournalCut {
        /// The journal's last sequence.
        last_sequence: u64,
        /// The highest sequence this worker has seen.
        seen: u64,
    },
    /// Another worker is healing.
    #[error("another worker is rebuilding the shared state")]
    Busy,
}

impl From<adjust::ReplayError> for HealingError {
    fn from(error: adjust::ReplayError) -> Self {
        match error {
            adjust::ReplayError::Store(error) => Self::Store(error),
            adjust::ReplayError::Event(error) => Self::Journal(error.to_string()),
        }
    }
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
        if (router.store.epoch().is_none() || router.journal.is_behind()) && pause > LOOK_EVERY {
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
    let seen = router.journal.highest_seen();
    let info = match router.reader.info().await {
        Ok(info) => info,
        Err(error) => {
            // A journal that is away takes no reports: nothing new is started until it is back.
            router.room.close();
            return Err(error.into());
        }
    };
    router.room.note(&info);
    if let Err(error) = not_behind(&look, &info).and_then(|()| not_cut(router, seen, &info)) {
        router.store.leave();
        return Err(error);
    }
    // What another worker has marked binds this one's appends, too.
    router.journal.seen(look.journal_sequence);
    let late = match look.epoch_in_force() {
        Some(epoch) if router.store.epoch() == Some(epoch) => None,
        Some(epoch) => {
            router.store.join(epoch);
            late_events(&look)
        }
        None => {
            router.store.leave();
            heal(router, &look, &info).await?
        }
    };
    state_journal::adopt_journaled(router).await?;
    locks::catch_up(router, None, 0).await?;
    router.control.refresh().await?;
    Ok(late)
}

/// Replays what has been appended since the healing, while workers of the epoch before it may still be appending: what
/// they settled may be missing in a store that was restored from an older copy. Returns whether it goes on.
async fn follow(router: &Router, late: &mut Option<Late>) -> Result<bool, HealingError> {
    let Some(open) = late else { return Ok(false) };
    let to = router.reader.info().await?.last_sequence;
    if open.next <= to {
        tell_late(replaying::replay(router, Target::InUse, open.next, to).await?.changed);
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

/// Returns what a healing that somebody else has done left to be followed up: its healer may have died since.
fn late_events(look: &StoreLook) -> Option<Late> {
    let until = Timestamp::from_milliseconds(look.late_until_ms);
    let left = until.since(Timestamp::now());
    (!left.is_zero()).then(|| Late {
        next: look.late_from,
        until: Instant::now() + left,
    })
}

fn not_behind(look: &StoreLook, info: &JournalInfo) -> Result<(), HealingError> {
    let created = info.created.to_string();
    let seen = look.journal_sequence.max(look.latch_sequence);
    let is_same = look.journal_created.is_empty() || look.journal_created == created;
    if is_same && info.last_sequence >= seen {
        return Ok(());
    }
    Err(HealingError::JournalBehind {
        last_sequence: info.last_sequence,
        created,
        seen,
        seen_created: look.journal_created.clone(),
    })
}

/// Checks the journal against what this process has seen of it itself, which the store may not know (any more).
fn not_cut(router: &Router, seen: u64, info: &JournalInfo) -> Result<(), HealingError> {
    if info.last_sequence >= seen && !router.journal.is_behind() {
        return Ok(());
    }
    Err(HealingError::JournalCut {
        last_sequence: info.last_sequence,
        seen,
    })
}

/// Rebuilds what the store lacks from the journal, into an empty store or from where the store stands.
async fn heal(router: &Router, look: &StoreLook, info: &JournalInfo) -> Result<Option<Late>, HealingError> {
    let healing = match router.store.begin_healing(look).await? {
        Begun::Healing(healing) => healing,
        Begun::Busy => return Err(HealingError::Busy),
        Begun::Healed => {
            let look = router.store.look().await?;
            router.store.join(look.epoch_in_force().ok_or(HealingError::Busy)?);
            return Ok(late_events(&look));
        }
    };
    if look.epoch.is_empty() && info.last_sequence == 0 {
        tracing::info!("a new router: the shared state is set up");
    } else if healing.journal_sequence >= info.last_sequence {
        tracing::info!("Redis has been restarted and knows everything that is on the journal");
    } else {
        tracing::warn!(
            from = healing.journal_sequence + 1,
            to = info.last_sequence,
            found = look.epoch,
            "the shared state is rebuilt from the journal"
        );
    }
    match rebuild(router, &healing, look).await {
        Ok(late) => Ok(Some(late)),
        Err(error) => {
            router.store.abandon_healing(&healing).await;
            Err(error)
        }
    }
}

/// Releases the claims of the epoch that is over, replays the journal until nothing more arrives, and puts a new epoch in
/// force. What workers of the old epoch append after that is followed up (see [`follow`]).
async fn rebuild(router: &Router, healing: &Healing, look: &StoreLook) -> Result<Late, HealingError> {
    release_claims(router, healing).await?;
    let (mut next, mut newest_epoch) = (healing.journal_sequence + 1, 0);
    let info = loop {
        let info = router.reader.info().await?;
        if info.last_sequence < next {
            break info;
        }
        let replayed = replaying::replay(router, Target::Healing(healing), next, info.last_sequence).await?;
        newest_epoch = newest_epoch.max(replayed.newest_epoch);
        next = info.last_sequence + 1;
    };
    restore_state(router, healing).await?;
    locks::catch_up(router, Some(healing), 0).await?;
    day::restore(router, healing).await?;
    let span_ms = u64::try_from(LATE_FOR.as_millis()).unwrap_or(u64::MAX);
    let late = LateEvents {
        from_sequence: next,
        span_ms,
    };
    let epoch = Timestamp::now()
        .milliseconds()
        .max(newest_epoch + 1)
        .max(look.epoch.parse().unwrap_or(0) + 1);
    router
        .store
        .finish_healing(healing, epoch, &info.created.to_string(), late)
        .await?;
    tracing::info!(epoch, "the shared state is whole");
    Ok(Late {
        next,
        until: Instant::now() + LATE_FOR,
    })
}

/// Releases every claim of the epoch that is over: none of them was sent, and none of them can be. What was being sent
/// stays as it is.
async fn release_claims(router: &Router, healing: &Healing) -> Result<(), HealingError> {
    let mut kept = 0;
    loop {
        let claims = router.store.claims_to_heal(healing, kept).await?;
        if claims.is_empty() {
            return Ok(());
        }
        for claim in &claims {
            kept += usize::from(!release_claim(router, healing, claim).await?);
        }
    }
}

async fn release_claim(router: &Router, healing: &Healing, claim: &Record) -> Result<bool, HealingError> {
    let (Stage::Claimed, Some(lease)) = (claim.known.stage, &claim.lease) else {
        return Ok(false);
    };
    let order = lookup::order_of(&claim.document)?;
    if !submission::outlives_us(router, &order.broker) {
        return Ok(router.store.release_to_heal(healing, &order, lease).await?);
    }
    // The journal may know of it as being submitted: the release has to go there, too, once the store is whole.
    let body = submission::release_event(&order, lease, 0);
    Ok(router.store.withdraw_to_heal(healing, &order, lease, &body).await?)
}

/// Puts the newest journaled change of the shared state in force.
async fn restore_state(router: &Router, healing: &Healing) -> Result<(), HealingError> {
    let Some((event, document)) = state_journal::last_event(router).await? else {
        return Ok(());
    };
    let state = router.store.state_to_heal(healing).await?;
    if event.version <= state.version {
        return Ok(());
    }
    let set = state_journal::change_of(&event, &document, state.version)?;
    match router.store.set_state_to_heal(healing, &set).await? {
        StateOutcome::Changed(_) => Ok(()),
        StateOutcome::Superseded(_) => Err(HealingError::Busy),
    }
}
