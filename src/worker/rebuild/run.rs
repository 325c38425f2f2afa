//! One rebuild of the store: release stale claims, replay the journal, restore state, locks and day, start a new epoch.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::journal::JournalExtent;
use crate::domain::time::Timestamp;
use crate::repeated_log::log_at_intervals;
use crate::store::StoreError;
use crate::store::control::operator_state::OperatorStateOutcome;
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::store::rebuild::epoch::{BeginRebuildOutcome, RebuildScope, StoreStatus};
use crate::store::rebuild::lease::StoreRebuild;
use crate::worker::control::{limits_journal, locks_journal, operator_state_journal, switch_journal};
use crate::worker::journaling::append::CONFIRM_AFTER;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::from_nothing;
use crate::worker::rebuild::late_events::LateEventFollowUp;
use crate::worker::rebuild::replay;
use crate::worker::rebuild::replay_target::ReplayTarget;
use crate::worker::router::Router;
use crate::worker::submission::announced;
use crate::worker::trading_day::roll;

/// How often the lease of a rebuild is extended.
const LEASE_EXTENSION_INTERVAL: Duration = Duration::from_secs(1);

/// Rebuilds the store from the journal: an empty one, or everything, from the start, any other from its watermark on. Returns the late
/// events to follow up.
///
/// # Errors
/// Why the store could not be rebuilt; [`StoreRebuildError::Busy`] while another worker rebuilds it.
pub(super) async fn rebuild_store(
    router: &Router,
    status: &StoreStatus,
    extent: &JournalExtent,
    scope: RebuildScope,
) -> Result<Option<LateEventFollowUp>, StoreRebuildError> {
    let known_sequence = match scope {
        RebuildScope::Missing => status.journal_sequence,
        RebuildScope::Whole => 0,
    };
    if extent.first_sequence > known_sequence + 1
        && let Some(loss) = router.journal_reader.find_unaccepted_loss(extent).await?
    {
        return Err(StoreRebuildError::JournalIncomplete(loss));
    }
    let begun = match scope {
        RebuildScope::Missing => router.store.begin_rebuild(status).await?,
        RebuildScope::Whole => router.store.begin_whole_rebuild(status).await?,
    };
    let rebuild = match begun {
        BeginRebuildOutcome::Acquired(rebuild) => rebuild,
        BeginRebuildOutcome::Busy => return Err(StoreRebuildError::Busy),
        BeginRebuildOutcome::ForeignSchema(found) => return Err(StoreRebuildError::foreign_schema(&found)),
        // It was rebuilt since its status was read: for a rebuild of everything that is another store.
        BeginRebuildOutcome::AlreadyRebuilt if scope == RebuildScope::Whole => return Err(StoreRebuildError::Busy),
        BeginRebuildOutcome::AlreadyRebuilt => {
            let status = router.store.read_status().await?;
            router
                .store
                .join_epoch(status.active_epoch().ok_or(StoreRebuildError::Busy)?);
            return Ok(LateEventFollowUp::from_status(&status));
        }
    };
    if status.epoch.is_empty() && extent.last_sequence == 0 {
        tracing::info!("setting up the shared state of a new router");
    } else if !rebuild.is_from_nothing && rebuild.journal_sequence >= extent.last_sequence {
        tracing::info!("Redis was restarted or failed over, and holds everything that is on the journal");
    } else {
        log_at_intervals!(
            warn,
            from = if rebuild.is_from_nothing {
                1
            } else {
                rebuild.journal_sequence + 1
            },
            to = extent.last_sequence,
            found = status.epoch,
            "rebuilding the shared state from the journal"
        );
    }
    let rebuilt = tokio::select! {
        rebuilt = rebuild_from_journal(router, &rebuild, status) => rebuilt,
        error = keep_lease(router, &rebuild) => Err(error),
    };
    match rebuilt {
        Ok(late) => Ok(Some(late)),
        Err(error) => {
            router.store.abandon_rebuild(&rebuild).await;
            Err(error)
        }
    }
}

/// Extends the lease of a rebuild for as long as it runs, whatever it reads or writes: each of its steps has a time limit
/// of its own. Returns once another worker has taken over.
async fn keep_lease(router: &Router, rebuild: &StoreRebuild) -> StoreRebuildError {
    loop {
        tokio::time::sleep(LEASE_EXTENSION_INTERVAL).await;
        match router.store.extend_rebuild(rebuild).await {
            Ok(()) => {}
            Err(error @ StoreError::Stale(_)) => return error.into(),
            Err(error) => tracing::debug!(%error, "the lease of the rebuild was not extended; retrying"),
        }
    }
}

/// Releases the claims of the previous epoch, replays the journal until nothing more arrives, and starts a new epoch.
/// What workers of the previous epoch append after that is followed up as late events.
async fn rebuild_from_journal(
    router: &Router,
    rebuild: &StoreRebuild,
    status: &StoreStatus,
) -> Result<LateEventFollowUp, StoreRebuildError> {
    let begun_at = Instant::now();
    let (mut next, mut newest_epoch) = if rebuild.is_from_nothing {
        let loaded = Box::pin(from_nothing::load_from_journal(router, rebuild)).await?;
        (loaded.sequence + 1, loaded.newest_epoch)
    } else {
        let claims = router.store.find_claims().await?;
        release_stale_claims(router, rebuild).await?;
        replay::replay_submissions_of(router, rebuild, &claims).await?;
        (rebuild.journal_sequence + 1, 0)
    };
    let extent = loop {
        let extent = router.journal_reader.read_extent().await?;
        if extent.last_sequence < next {
            // What workers of the epoch before have booked and journal in time is read: they reply without asking.
            let left = CONFIRM_AFTER.saturating_sub(begun_at.elapsed());
            if extent.last_sequence == 0 || left.is_zero() {
                break extent;
            }
            tokio::time::sleep(left).await;
            continue;
        }
        let replayed =
            replay::replay_range(router, ReplayTarget::Rebuilding(rebuild), next, extent.last_sequence).await?;
        newest_epoch = newest_epoch.max(replayed.newest_epoch);
        next = extent.last_sequence + 1;
    };
    limits_journal::restore_limits(router, rebuild).await?;
    restore_router_state(router, rebuild).await?;
    locks_journal::apply_journaled_locks(router, Some(rebuild), 0).await?;
    switch_journal::apply_journaled_switches(router, Some(rebuild), 0).await?;
    roll::restore_day(&router.store, &router.journal_reader, rebuild).await?;
    let epoch = Timestamp::now()
        .as_milliseconds()
        .max(newest_epoch + 1)
        .max(status.epoch.parse().unwrap_or(0) + 1);
    router
        .store
        .finish_rebuild(
            rebuild,
            epoch,
            &extent.created_at.to_string(),
            LateEventFollowUp::record(next),
        )
        .await?;
    tracing::info!(epoch, "the shared state is rebuilt");
    Ok(LateEventFollowUp::start(next))
}

/// Releases every claim of the previous epoch: none of them can be sent any more. One that is on the journal as submitted may
/// have been sent, and the replay makes it an order that is being sent again.
async fn release_stale_claims(router: &Router, rebuild: &StoreRebuild) -> Result<(), StoreRebuildError> {
    let mut kept = 0;
    while let Some(page) = router.store.list_claims_for_rebuild(rebuild, kept).await? {
        let mut released = 0;
        for claim in &page.orders {
            released += usize::from(release_stale_claim(router, rebuild, claim).await?);
        }
        kept += page.leases - released;
    }
    Ok(())
}

/// Releases one claim. Reports whether it did: a record that is no claim any more, or cannot be read, is kept.
async fn release_stale_claim(
    router: &Router,
    rebuild: &StoreRebuild,
    claim: &StoredOrder,
) -> Result<bool, StoreRebuildError> {
    let (RecordStage::Claimed, Some(lease)) = (claim.known.stage, &claim.lease) else {
        return Ok(false);
    };
    // A claim that cannot be read keeps what it reserves, and stays claimed: an operator sees it in the log.
    let order = match order_from_document(&claim.document) {
        Ok(order) => order,
        Err(fault) => {
            tracing::error!(order_id = %claim.known.order_id, %fault, "a claim cannot be read and is not released");
            return Ok(false);
        }
    };
    if !router.places_at_venue(&order) {
        return Ok(router.store.release_claim_for_rebuild(rebuild, &order, lease).await?);
    }
    // Its submission may be journaled: the release is journaled, too, once the store is rebuilt.
    let body = announced::encode_release_event(&order, lease, 0);
    Ok(router
        .store
        .withdraw_submission_for_rebuild(rebuild, &order, lease, &body)
        .await?)
}

/// Applies the newest journaled change of the operator state.
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
