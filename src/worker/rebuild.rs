//! A store that is not the one we know: emptied, restarted, restored from an older copy. It is taken out of use, the
//! journal is replayed from what it still knows, and a new epoch is put in force.

pub(in crate::worker) mod replay;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::BusError;
use crate::bus::journal::JournalExtent;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::store::StoreError;
use crate::store::control::operator_state::OperatorStateOutcome;
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::store::rebuild::epoch::{BeginRebuildOutcome, LateEvents, StoreStatus};
use crate::store::rebuild::lease::StoreRebuild;
use crate::worker::control::{locks, operator_state_journal};
use crate::worker::journaling::current_report;
use crate::worker::rebuild::replay::ReplayTarget;
use crate::worker::router::Router;
use crate::worker::submission::announced;
use crate::worker::{adjustments, trading_day};

/// How often a store that is out of use is looked at.
const UNAVAILABLE_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How often a store in use is compared with the journal.
const COMPARE_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a healing events of the epoch before it may still arrive: longer than any append is tried.
const LATE_EVENT_WINDOW: Duration = Duration::from_secs(30);
/// How often they are looked for.
const LATE_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// What is still to be looked at after a healing.
#[derive(Debug)]
pub struct LateEventFollowUp {
    /// The first sequence that has not been replayed.
    next_sequence: u64,
    /// When no late event is expected any more.
    ends_at: Instant,
}

/// Why a store could not be made whole.
#[derive(Debug, thiserror::Error)]
pub enum StoreRebuildError {
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

impl From<adjustments::AdjustmentReplayError> for StoreRebuildError {
    fn from(error: adjustments::AdjustmentReplayError) -> Self {
        match error {
            adjustments::AdjustmentReplayError::Store(error) => Self::Store(error),
            adjustments::AdjustmentReplayError::Event(error) => Self::Journal(error.to_string()),
        }
    }
}

impl From<Fault> for StoreRebuildError {
    fn from(fault: Fault) -> Self {
        Self::Journal(fault.detail)
    }
}

/// Keeps the store whole until it is stopped.
pub(in crate::worker) async fn run(router: Router, mut late: Option<LateEventFollowUp>, stop: CancellationToken) {
    let mut told = String::new();
    while !stop.is_cancelled() {
        let pause = match check_store(&router).await {
            Ok(healed) => {
                told.clear();
                late = healed.or(late);
                match replay_late_events(&router, &mut late).await {
                    Ok(true) => LATE_EVENT_INTERVAL,
                    Ok(false) => COMPARE_INTERVAL,
                    Err(error) => {
                        tracing::warn!(%error, "late events of the journal are looked for again");
                        LATE_EVENT_INTERVAL
                    }
                }
            }
            Err(error) => {
                let text = error.to_string();
                if text != told {
                    tracing::error!(error = text, "no order is taken until the shared state is whole");
                    told = text;
                }
                UNAVAILABLE_POLL_INTERVAL
            }
        };
        wait_for_next_check(&router, &stop, pause).await;
    }
}

/// Waits for the next look; a store that falls out of use ends the wait.
async fn wait_for_next_check(router: &Router, stop: &CancellationToken, pause: Duration) {
    let end = Instant::now() + pause;
    while Instant::now() < end && !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UNAVAILABLE_POLL_INTERVAL.min(pause)) => {}
        }
        if (router.store.epoch().is_none() || router.journal_writer.is_behind()) && pause > UNAVAILABLE_POLL_INTERVAL {
            return;
        }
    }
}

/// Compares a store in use with the journal; makes one that is out of use whole.
///
/// # Errors
/// Why it is not whole; it is out of use then.
pub async fn check_store(router: &Router) -> Result<Option<LateEventFollowUp>, StoreRebuildError> {
    let look = router.store.read_status().await?;
    let seen = router.journal_writer.highest_sequence();
    let info = match router.journal_reader.read_extent().await {
        Ok(info) => info,
        Err(error) => {
            // A journal that is away takes no reports: nothing new is started until it is back.
            router.journal_capacity.mark_unavailable();
            return Err(error.into());
        }
    };
    router.journal_capacity.update(&info);
    if let Err(error) = check_journal_not_behind(&look, &info).and_then(|()| check_journal_not_cut(router, seen, &info))
    {
        router.store.leave_epoch();
        return Err(error);
    }
    // What another worker has marked binds this one's appends, too.
    router.journal_writer.observe_sequence(look.journal_sequence);
    let late = match look.active_epoch() {
        Some(epoch) if router.store.epoch() == Some(epoch) => None,
        Some(epoch) => {
            router.store.join_epoch(epoch);
            late_event_follow_up(&look)
        }
        None => {
            router.store.leave_epoch();
            rebuild_store(router, &look, &info).await?
        }
    };
    operator_state_journal::activate_journaled_change(router).await?;
    locks::apply_journaled_locks(router, None, 0).await?;
    router.control.refresh().await?;
    Ok(late)
}

/// Replays what has been appended since the healing, while workers of the epoch before it may still be appending: what
/// they settled may be missing in a store that was restored from an older copy. Returns whether it goes on.
async fn replay_late_events(router: &Router, late: &mut Option<LateEventFollowUp>) -> Result<bool, StoreRebuildError> {
    let Some(open) = late else { return Ok(false) };
    let to = router.journal_reader.read_extent().await?.last_sequence;
    if open.next_sequence <= to {
        log_late_events(
            replay::replay_range(router, ReplayTarget::InUse, open.next_sequence, to)
                .await?
                .changed,
        );
        open.next_sequence = to + 1;
    }
    if Instant::now() < open.ends_at {
        return Ok(true);
    }
    *late = None;
    Ok(false)
}

fn log_late_events(events: u64) {
    if events > 0 {
        tracing::warn!(events, "late events of the epoch before the healing were replayed");
    }
}

/// Returns what a healing that somebody else has done left to be followed up: its healer may have died since.
fn late_event_follow_up(look: &StoreStatus) -> Option<LateEventFollowUp> {
    let until = Timestamp::from_milliseconds(look.late_until_ms);
    let left = until.saturating_duration_since(Timestamp::now());
    (!left.is_zero()).then(|| LateEventFollowUp {
        next_sequence: look.late_from_sequence,
        ends_at: Instant::now() + left,
    })
}

fn check_journal_not_behind(look: &StoreStatus, info: &JournalExtent) -> Result<(), StoreRebuildError> {
    let created = info.created_at.to_string();
    let seen = look.journal_sequence.max(look.lock_watermark);
    let is_same = look.journal_created.is_empty() || look.journal_created == created;
    if is_same && info.last_sequence >= seen {
        return Ok(());
    }
    Err(StoreRebuildError::JournalBehind {
        last_sequence: info.last_sequence,
        created,
        seen,
        seen_created: look.journal_created.clone(),
    })
}

/// Checks the journal against what this process has seen of it itself, which the store may not know (any more).
fn check_journal_not_cut(router: &Router, seen: u64, info: &JournalExtent) -> Result<(), StoreRebuildError> {
    if info.last_sequence >= seen && !router.journal_writer.is_behind() {
        return Ok(());
    }
    Err(StoreRebuildError::JournalCut {
        last_sequence: info.last_sequence,
        seen,
    })
}

/// Rebuilds what the store lacks from the journal, into an empty store or from where the store stands.
async fn rebuild_store(
    router: &Router,
    look: &StoreStatus,
    info: &JournalExtent,
) -> Result<Option<LateEventFollowUp>, StoreRebuildError> {
    let healing = match router.store.begin_rebuild(look).await? {
        BeginRebuildOutcome::Acquired(healing) => healing,
        BeginRebuildOutcome::Busy => return Err(StoreRebuildError::Busy),
        BeginRebuildOutcome::AlreadyRebuilt => {
            let look = router.store.read_status().await?;
            router
                .store
                .join_epoch(look.active_epoch().ok_or(StoreRebuildError::Busy)?);
            return Ok(late_event_follow_up(&look));
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
    match rebuild_from_journal(router, &healing, look).await {
        Ok(late) => Ok(Some(late)),
        Err(error) => {
            router.store.abandon_rebuild(&healing).await;
            Err(error)
        }
    }
}

/// Releases the claims of the epoch that is over, replays the journal until nothing more arrives, and puts a new epoch in
/// force. What workers of the old epoch append after that is followed up (see [`follow`]).
async fn rebuild_from_journal(
    router: &Router,
    rebuild: &StoreRebuild,
    look: &StoreStatus,
) -> Result<LateEventFollowUp, StoreRebuildError> {
    release_stale_claims(router, rebuild).await?;
    let (mut next, mut newest_epoch) = (rebuild.journal_sequence + 1, 0);
    let info = loop {
        let info = router.journal_reader.read_extent().await?;
        if info.last_sequence < next {
            break info;
        }
        let replayed =
            replay::replay_range(router, ReplayTarget::Rebuilding(rebuild), next, info.last_sequence).await?;
        newest_epoch = newest_epoch.max(replayed.newest_epoch);
        next = info.last_sequence + 1;
    };
    restore_router_state(router, rebuild).await?;
    locks::apply_journaled_locks(router, Some(rebuild), 0).await?;
    trading_day::restore_day(router, rebuild).await?;
    let span_ms = u64::try_from(LATE_EVENT_WINDOW.as_millis()).unwrap_or(u64::MAX);
    let late = LateEvents {
        from_sequence: next,
        window_ms: span_ms,
    };
    let epoch = Timestamp::now()
        .as_milliseconds()
        .max(newest_epoch + 1)
        .max(look.epoch.parse().unwrap_or(0) + 1);
    router
        .store
        .finish_rebuild(rebuild, epoch, &info.created_at.to_string(), late)
        .await?;
    tracing::info!(epoch, "the shared state is whole");
    Ok(LateEventFollowUp {
        next_sequence: next,
        ends_at: Instant::now() + LATE_EVENT_WINDOW,
    })
}

/// Releases every claim of the epoch that is over: none of them was sent, and none of them can be. What was being sent
/// stays as it is.
async fn release_stale_claims(router: &Router, rebuild: &StoreRebuild) -> Result<(), StoreRebuildError> {
    let mut kept = 0;
    loop {
        let claims = router.store.list_claims_for_rebuild(rebuild, kept).await?;
        if claims.is_empty() {
            return Ok(());
        }
        for claim in &claims {
            kept += usize::from(!release_stale_claim(router, rebuild, claim).await?);
        }
    }
}

async fn release_stale_claim(
    router: &Router,
    rebuild: &StoreRebuild,
    claim: &StoredOrder,
) -> Result<bool, StoreRebuildError> {
    let (RecordStage::Claimed, Some(lease)) = (claim.known.stage, &claim.lease) else {
        return Ok(false);
    };
    let order = current_report::order_from_document(&claim.document)?;
    if !announced::places_at_venue(router, &order.broker) {
        return Ok(router.store.release_claim_for_rebuild(rebuild, &order, lease).await?);
    }
    // The journal may know of it as being submitted: the release has to go there, too, once the store is whole.
    let body = announced::encode_release_event(&order, lease, 0);
    Ok(router
        .store
        .withdraw_submission_for_rebuild(rebuild, &order, lease, &body)
        .await?)
}

/// Puts the newest journaled change of the shared state in force.
async fn restore_router_state(router: &Router, rebuild: &StoreRebuild) -> Result<(), StoreRebuildError> {
    let Some((event, document)) = operator_state_journal::latest_state_event(router).await? else {
        return Ok(());
    };
    let state = router.store.read_operator_state_for_rebuild(rebuild).await?;
    if event.version <= state.version {
        return Ok(());
    }
    let set = operator_state_journal::state_set_from_event(&event, &document, state.version)?;
    match router.store.set_operator_state_for_rebuild(rebuild, &set).await? {
        OperatorStateOutcome::Changed(_) => Ok(()),
        OperatorStateOutcome::Superseded(_) => Err(StoreRebuildError::Busy),
    }
}
