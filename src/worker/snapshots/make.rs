//! Making snapshots in the background: one worker at a time, every so many entries of the journal.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::journal::JournalExtent;
use crate::bus::journal::snapshots::{
    IdSegment, SNAPSHOT_FORMAT, SnapshotManifest, SnapshotPart, SnapshotWriter, StoredManifest,
};
use crate::domain::id::LeaseToken;
use crate::domain::time::Timestamp;
use crate::store::rebuild::fold::FoldedState;
use crate::telemetry::{MetricId, duration_micros};
use crate::worker::periodic::repeat_every;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::fold_journal::{FoldPace, FoldSource, fold_journal};
use crate::worker::router::Router;
use crate::worker::snapshots::failure::SnapshotFailure;
use crate::worker::snapshots::read::read_newest_valid;
use crate::worker::stop_point;

/// The pause between two checks whether a snapshot is due.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How often the turn is extended.
const TURN_INTERVAL: Duration = Duration::from_secs(5);
/// The most entries that one snapshot folds, in multiples of the setting: a long journal is folded in several, so that a
/// kill loses little work.
const MAX_INTERVALS_PER_SNAPSHOT: u64 = 8;
/// The most segments of remembered ids: beyond them a snapshot writes all ids into one.
const MAX_ID_SEGMENTS: usize = 64;
/// For how long beyond their retention ids stay in a snapshot.
const ID_MARGIN: Duration = Duration::from_secs(2 * 60 * 60);

/// Makes snapshots until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    if router.snapshots.every_entries == 0 {
        return;
    }
    let token = LeaseToken::generate();
    let mut runs = repeat_every(CHECK_INTERVAL, &stop);
    while runs.next().await {
        if router.store.epoch().is_none() {
            continue;
        }
        let made = tokio::select! {
            () = stop.cancelled() => return,
            made = make_due_snapshot(&router, &token) => made,
        };
        match made {
            Ok(()) => {}
            Err(error) => {
                router.telemetry.increment(MetricId::SnapshotFailures, &["make"]);
                tracing::warn!(%error, "no snapshot of the shared state was made; trying again");
            }
        }
    }
}

/// Makes a snapshot if the journal has grown by enough entries since the newest one, and no other worker makes one.
async fn make_due_snapshot(router: &Router, token: &LeaseToken) -> Result<(), SnapshotFailure> {
    let extent = router.journal_reader.read_extent().await;
    let extent = extent.map_err(StoreRebuildError::from)?;
    let stored = router.snapshots.stream.read_manifests().await?;
    let newest = newest_of(&stored, &extent);
    sample(router, newest);
    let covered = newest.map_or(0, |manifest| manifest.journal_sequence);
    let has_turn = extent.last_sequence >= covered.saturating_add(router.snapshots.every_entries)
        && take_turn(router, token).await?;
    if !has_turn {
        return Ok(());
    }
    stop_point::reach("snapshot_turn");
    let mut making = Box::pin(make_snapshot(router, &extent, covered));
    let made = loop {
        tokio::select! {
            made = &mut making => break made,
            () = tokio::time::sleep(TURN_INTERVAL) => {
                // Another worker has taken the turn: it makes the snapshot.
                if !take_turn(router, token).await? {
                    return Ok(());
                }
            }
        }
    };
    // The turn ends by itself where this fails.
    let _ = router.store.end_snapshot_turn(token).await;
    made
}

/// Takes the turn, or extends it.
async fn take_turn(router: &Router, token: &LeaseToken) -> Result<bool, SnapshotFailure> {
    let taken = router.store.take_snapshot_turn(token).await;
    Ok(taken.map_err(StoreRebuildError::from)?)
}

/// Makes a snapshot, unless another worker has made one beyond `covered` before this one got the turn.
async fn make_snapshot(router: &Router, extent: &JournalExtent, covered: u64) -> Result<(), SnapshotFailure> {
    let stored = router.snapshots.stream.read_manifests().await?;
    if newest_of(&stored, extent).map_or(0, |manifest| manifest.journal_sequence) > covered {
        return Ok(());
    }
    let (base, base_manifest) = Box::pin(read_newest_valid(router, &stored, extent)).await;
    let most = router
        .snapshots
        .every_entries
        .saturating_mul(MAX_INTERVALS_PER_SNAPSHOT);
    let last = extent.last_sequence.min(base.progress.sequence.saturating_add(most));
    let source = FoldSource::of(router);
    let folded = Box::pin(fold_journal(&source, base, last, FoldPace::Background)).await?;
    let Some(journal_entry_sha256) = folded.last_entry_sha256 else {
        return Ok(());
    };
    stop_point::reach("snapshot_folded");
    let mut state = folded.state;
    state.prune(Timestamp::now(), router.snapshots.retention);
    let draft = SnapshotManifest {
        format: SNAPSHOT_FORMAT,
        journal_created: extent.created_at,
        journal_sequence: state.progress.sequence,
        journal_entry_sha256,
        made_at: Timestamp::now(),
        state: Vec::new(),
        ids: Vec::new(),
    };
    let manifest = write_snapshot(router, &state, &stored, base_manifest, draft).await?;
    stop_point::reach("snapshot_written");
    sample(router, Some(&manifest));
    tracing::info!(
        sequence = manifest.journal_sequence,
        parts = manifest.parts().count(),
        "made a snapshot of the shared state"
    );
    Ok(())
}

/// Returns the newest manifest of the journal; whether its parts are whole is not checked.
fn newest_of<'a>(stored: &'a [StoredManifest], extent: &JournalExtent) -> Option<&'a SnapshotManifest> {
    let manifests = stored.iter().filter_map(|stored| stored.manifest.as_ref().ok());
    let of_journal = |manifest: &&SnapshotManifest| {
        manifest.journal_created == extent.created_at && manifest.journal_sequence <= extent.last_sequence
    };
    manifests
        .filter(of_journal)
        .max_by_key(|manifest| manifest.journal_sequence)
}

/// Writes the parts and then the manifest. Remembered ids of the snapshot before stay in their segments.
async fn write_snapshot(
    router: &Router,
    state: &FoldedState,
    stored: &[StoredManifest],
    base: Option<SnapshotManifest>,
    draft: SnapshotManifest,
) -> Result<SnapshotManifest, SnapshotFailure> {
    let mut writer = router.snapshots.stream.begin(stored).await?;
    let (after_sequence, mut ids) = match base {
        Some(base) if base.ids.len() < MAX_ID_SEGMENTS => (base.journal_sequence, base.ids),
        _ => (0, Vec::new()),
    };
    ids.retain(|segment| segment.remembered_until.saturating_add(ID_MARGIN) > draft.made_at);
    ids.extend(write_ids(&mut writer, state, after_sequence).await?);
    stop_point::reach("snapshot_part");
    let manifest = SnapshotManifest {
        state: write_state(&mut writer, state).await?,
        ids,
        ..draft
    };
    stop_point::reach("snapshot_parts");
    writer.finish(&manifest).await?;
    Ok(manifest)
}

async fn write_ids(
    writer: &mut SnapshotWriter,
    state: &FoldedState,
    after_sequence: u64,
) -> Result<Option<IdSegment>, SnapshotFailure> {
    let mut remembered_until = Timestamp::from_milliseconds(0);
    for (until, item) in state.id_items(after_sequence) {
        remembered_until = remembered_until.max(until);
        writer.push(item?).await?;
    }
    let parts = writer.end_section().await?;
    Ok((!parts.is_empty()).then_some(IdSegment {
        remembered_until,
        parts,
    }))
}

async fn write_state(writer: &mut SnapshotWriter, state: &FoldedState) -> Result<Vec<SnapshotPart>, SnapshotFailure> {
    for item in state.state_items() {
        writer.push(item?).await?;
    }
    Ok(writer.end_section().await?)
}

/// Samples the sequence and the age of the newest snapshot.
fn sample(router: &Router, newest: Option<&SnapshotManifest>) {
    let sequence = newest.map_or(0, |manifest| manifest.journal_sequence);
    router
        .telemetry
        .set_gauge(MetricId::SnapshotSequence, &[], Some(sequence));
    let age = newest.map(|manifest| Timestamp::now().saturating_duration_since(manifest.made_at));
    router
        .telemetry
        .set_gauge(MetricId::SnapshotAge, &[], age.map(duration_micros));
}
