//! Reading the newest valid snapshot.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::bus::journal::JournalExtent;
use crate::bus::journal::snapshots::{JournalSnapshots, SnapshotError, SnapshotManifest, SnapshotPart, StoredManifest};
use crate::domain::content_hash::ContentHash;
use crate::store::rebuild::fold::FoldedState;
use crate::telemetry::MetricId;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::router::Router;
use crate::worker::snapshots::failure::SnapshotFailure;

/// How many parts are read at a time.
const PARTS_IN_FLIGHT: usize = 4;

/// Returns the state of the newest valid snapshot, with its manifest; an empty state if there is none. An invalid snapshot
/// is logged, counted and passed over.
pub(in crate::worker) async fn read_newest_valid(
    router: &Router,
    stored: &[StoredManifest],
    extent: &JournalExtent,
) -> (FoldedState, Option<SnapshotManifest>) {
    for stored in stored {
        let manifest = match &stored.manifest {
            Ok(manifest) => manifest,
            Err(error) => {
                report_invalid(router, error);
                continue;
            }
        };
        match read_snapshot(router, manifest, extent).await {
            Ok(state) => return (state, Some(manifest.clone())),
            Err(error) => report_invalid(router, &error),
        }
    }
    (FoldedState::default(), None)
}

fn report_invalid(router: &Router, error: &(impl std::fmt::Display + ?Sized)) {
    router.telemetry.increment(MetricId::SnapshotFailures, &["read"]);
    tracing::error!(%error, "a snapshot of the shared state is not valid: the one before it, or the whole journal, is used");
}

/// Checks that a snapshot belongs to the journal, and reads its parts.
async fn read_snapshot(
    router: &Router,
    manifest: &SnapshotManifest,
    extent: &JournalExtent,
) -> Result<FoldedState, SnapshotFailure> {
    check_journal(router, manifest, extent).await?;
    let mut state = FoldedState::default();
    // Ids first: an open order goes before what is remembered of its id.
    let ids = manifest.ids.iter().flat_map(|segment| &segment.parts);
    let parts: Vec<SnapshotPart> = ids.chain(&manifest.state).cloned().collect();
    let snapshots = router.snapshots.stream.clone();
    let parts = stream::iter(parts).map(move |part| read_part(snapshots.clone(), part));
    let mut parts = std::pin::pin!(parts.buffered(PARTS_IN_FLIGHT));
    while let Some(part) = parts.try_next().await? {
        let absorbed = tokio::task::spawn_blocking(move || {
            let mut state = state;
            state.absorb(&part).map(|()| state)
        });
        state = absorbed
            .await
            .map_err(|error| StoreRebuildError::Journal(error.to_string()))??;
    }
    if state.progress.sequence != manifest.journal_sequence {
        return Err(other_journal(manifest, "has parts of another sequence"));
    }
    Ok(state)
}

async fn read_part(snapshots: JournalSnapshots, part: SnapshotPart) -> Result<Bytes, SnapshotError> {
    snapshots.read_part(&part).await
}

/// Checks that the journal has the entry that the snapshot ends with.
async fn check_journal(
    router: &Router,
    manifest: &SnapshotManifest,
    extent: &JournalExtent,
) -> Result<(), SnapshotFailure> {
    if manifest.journal_created != extent.created_at {
        return Err(other_journal(
            manifest,
            "is of a journal that was created at another time",
        ));
    }
    if manifest.journal_sequence > extent.last_sequence {
        return Err(other_journal(manifest, "is beyond the end of the journal"));
    }
    let entry = router.journal_reader.read_entry(manifest.journal_sequence).await;
    let entry = entry.map_err(StoreRebuildError::from)?;
    let is_same = entry.is_some_and(|entry| *ContentHash::of(&entry.body).0 == *manifest.journal_entry_sha256);
    if is_same {
        return Ok(());
    }
    Err(other_journal(
        manifest,
        "ends with an entry that the journal does not have",
    ))
}

fn other_journal(manifest: &SnapshotManifest, reason: &'static str) -> SnapshotFailure {
    SnapshotFailure::OtherJournal {
        sequence: manifest.journal_sequence,
        reason,
    }
}
