//! A rebuild from nothing: the newest valid snapshot and the rest of the journal, or the whole journal, folded in memory
//! and loaded as final state. A load that did not finish is cleared first.

use std::time::Instant;

use crate::domain::time::Timestamp;
use crate::store::rebuild::fold::{FoldProgress, FoldedState};
use crate::store::rebuild::lease::StoreRebuild;
use crate::telemetry::MetricId;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::fold_journal::{FoldPace, FoldSource, fold_journal};
use crate::worker::router::Router;
use crate::worker::snapshots::read::read_newest_valid;
use crate::worker::stop_point;

/// Loads what the journal's entries make into an empty store. Returns how far the journal is folded.
///
/// # Errors
/// When store or journal do not reply, the journal cannot be folded, or another worker has taken over.
pub(super) async fn load_from_journal(
    router: &Router,
    rebuild: &StoreRebuild,
) -> Result<FoldProgress, StoreRebuildError> {
    let started = Instant::now();
    let cleared = router.store.clear_loaded_state(rebuild).await?;
    if cleared > 0 {
        tracing::warn!(keys = cleared, "cleared what a rebuild had loaded that did not finish");
    }
    let (from, mut state) = Box::pin(fold_from_snapshot(router)).await?;
    stop_point::reach("rebuild_folded");
    let folded = started.elapsed();
    state.prune(Timestamp::now(), router.snapshots.retention);
    router.store.load_folded_state(rebuild, &state).await?;
    stop_point::reach("rebuild_loaded");
    tracing::info!(
        snapshot = from,
        entries = state.progress.sequence.saturating_sub(from),
        orders = state.orders.len(),
        remembered = state.remembered.len(),
        folded_ms = u64::try_from(folded.as_millis()).unwrap_or(u64::MAX),
        loaded_ms = u64::try_from((started.elapsed() - folded).as_millis()).unwrap_or(u64::MAX),
        "folded the journal and loaded the shared state"
    );
    Ok(state.progress)
}

/// Folds the journal onto its newest valid snapshot. Returns the snapshot's sequence, 0 without one, and the state.
pub(super) async fn fold_from_snapshot(router: &Router) -> Result<(u64, FoldedState), StoreRebuildError> {
    let extent = router.journal_reader.read_extent().await?;
    let base = match router.snapshots.stream.read_manifests().await {
        Ok(stored) => Box::pin(read_newest_valid(router, &stored, &extent)).await.0,
        Err(error) => {
            router.telemetry.increment(MetricId::SnapshotFailures, &["read"]);
            tracing::error!(%error, "the snapshots of the shared state cannot be read: the whole journal is folded");
            FoldedState::default()
        }
    };
    let from = base.progress.sequence;
    let source = FoldSource::of(router);
    let folded = Box::pin(fold_journal(&source, base, extent.last_sequence, FoldPace::Full)).await?;
    Ok((from, folded.state))
}
