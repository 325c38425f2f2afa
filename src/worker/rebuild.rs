//! The check of the store against the journal, and its rebuild: a store that is empty, restarted or restored from an
//! older copy is taken out of use, the journal is replayed from the store's watermark on (`rebuild/run.rs`), and a new
//! epoch becomes active.

pub mod by_operator;
pub mod error;
pub mod fold_journal;
pub mod fold_position;
pub(in crate::worker) mod from_nothing;
pub mod journal_check;
pub mod late_events;
mod lost_entries;
pub(in crate::worker) mod replay;
pub(in crate::worker) mod replay_target;
pub(in crate::worker) mod run;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::journal::JournalExtent;
use crate::config::guards::Guard;
use crate::repeated_log::log_at_intervals;
use crate::store::StoreError;
use crate::store::rebuild::epoch::RebuildScope;
use crate::worker::control::{limits_journal, locks_journal, operator_state_journal, switch_journal};
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::journal_check::check_journal_not_behind;
use crate::worker::rebuild::late_events::{LateEventFollowUp, replay_late_events};
use crate::worker::rebuild::run::rebuild_store;
use crate::worker::router::Router;

/// How often a store that is out of use is checked.
const UNAVAILABLE_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How often a store is checked that is out of use until an operator acts.
const OPERATOR_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often a store in use is compared with the journal.
const COMPARE_INTERVAL: Duration = Duration::from_secs(1);
/// How often late events are read.
const LATE_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the store consistent with the journal until the worker stops.
pub(in crate::worker) async fn watch_store(
    router: Router,
    mut late: Option<LateEventFollowUp>,
    stop: CancellationToken,
) {
    let mut logged_error = String::new();
    while !stop.is_cancelled() {
        let checked = check_store(&router).await;
        router.readiness.record_store_check(checked.as_ref().err());
        let pause = match checked {
            Ok(rebuilt) => {
                logged_error.clear();
                late = rebuilt.or(late);
                match replay_late_events(&router, &mut late).await {
                    Ok(true) => LATE_EVENT_INTERVAL,
                    Ok(false) => COMPARE_INTERVAL,
                    Err(error) => {
                        log_at_intervals!(warn, %error, "late events of the journal could not be replayed; retrying");
                        LATE_EVENT_INTERVAL
                    }
                }
            }
            Err(error) => {
                let text = error.to_string();
                if text != logged_error {
                    tracing::error!(
                        error = text,
                        "no order is accepted until the shared state is rebuilt and consistent with the journal"
                    );
                    logged_error = text;
                }
                if error.requires_operator() {
                    let _ = stop
                        .run_until_cancelled(tokio::time::sleep(OPERATOR_POLL_INTERVAL))
                        .await;
                    continue;
                }
                UNAVAILABLE_POLL_INTERVAL
            }
        };
        wait_for_next_check(&router, &stop, pause).await;
    }
}

/// Waits until the next check. A store that is taken out of use ends the wait.
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

/// Compares a store in use with the journal, and rebuilds one that is out of use. Returns the late events to follow up.
///
/// # Errors
/// Why the store is not usable; it is out of use then.
pub async fn check_store(router: &Router) -> Result<Option<LateEventFollowUp>, StoreRebuildError> {
    let status = router.store.read_status().await?;
    if let Some(found) = status.foreign_schema() {
        router.store.leave_epoch();
        return Err(StoreRebuildError::foreign_schema(found));
    }
    let seen = router.journal_writer.highest_sequence();
    let extent = match router.journal_reader.find_extent().await {
        Ok(Some(extent)) => extent,
        // A journal that is away accepts no reports: no new order is accepted until it is back.
        missing => {
            router.journal_capacity.mark_unavailable();
            return Err(missing.err().map_or(StoreRebuildError::JournalMissing, Into::into));
        }
    };
    router.journal_capacity.update(&extent);
    if let Err(error) =
        check_journal_not_behind(&status, &extent).and_then(|()| check_journal_not_cut(router, seen, &extent))
    {
        router.store.leave_epoch();
        return Err(error);
    }
    // Sequences that other workers have marked are the minimum for this worker's appends, too.
    router.journal_writer.observe_sequence(status.journal_sequence);
    let late = match status.active_epoch() {
        Some(epoch) if router.store.epoch() == Some(epoch) && status.has_scripts => None,
        Some(epoch) => {
            if !status.has_scripts {
                add_scripts(router, epoch).await?;
            }
            router.store.join_epoch(epoch);
            LateEventFollowUp::from_status(&status)
        }
        None if Guard::Epoch.is_off() && router.store.epoch().is_some() => None,
        None => {
            router.store.leave_epoch();
            rebuild_store(router, &status, &extent, RebuildScope::Missing).await?
        }
    };
    limits_journal::enforce_journaled_limits(router).await?;
    operator_state_journal::activate_journaled_change(router).await?;
    locks_journal::apply_journaled_locks(router, None, 0).await?;
    switch_journal::apply_journaled_switches(router, None, 0).await?;
    router.control.refresh().await?;
    Ok(late)
}

/// Adds this release's scripts to a store that another release of the same schema has built and uses. It is not rebuilt:
/// the two would do so in turns for ever.
async fn add_scripts(router: &Router, epoch: i64) -> Result<(), StoreRebuildError> {
    if router.store.add_scripts(epoch).await? {
        tracing::info!(
            epoch,
            "another release has built the shared state: added the scripts of this one"
        );
        return Ok(());
    }
    router.store.leave_epoch();
    Err(StoreError::Stale("Redis was restarted".to_owned()).into())
}

/// Checks that the journal has every entry that this process has seen acknowledged, which the store may have lost.
fn check_journal_not_cut(router: &Router, seen: u64, extent: &JournalExtent) -> Result<(), StoreRebuildError> {
    if extent.last_sequence >= seen && !router.journal_writer.is_behind() {
        return Ok(());
    }
    Err(StoreRebuildError::JournalCut {
        last_sequence: extent.last_sequence,
        seen,
    })
}
