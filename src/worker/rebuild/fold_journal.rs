//! Folding the journal in memory: for a rebuild from nothing, and for a snapshot. A task reads ahead, other threads decode,
//! and the fold takes the entries in order.
//!
//! Every report is decoded in full and restored to its order, also one that a later report supersedes: a part that the fold
//! does not use is checked all the same, and an entry with an invalid part ends the rebuild with an error that names it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bus::connection::BusError;
use crate::bus::journal::JournalReader;
use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;
use crate::domain::id::BrokerId;
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;
use crate::domain::time::Timestamp;
use crate::store::control::dead_man_switches::JournaledSwitchEvent;
use crate::store::control::locks::JournaledLockEvent;
use crate::store::rebuild::fold::{FoldedReport, FoldedState, LostVersions, ReportContext};
use crate::store::rebuild::orders::OrderReplay;
use crate::store::sums::adjustment::AdjustmentBooking;
use crate::worker::adjustments::booking::booking_from_event;
use crate::worker::control::{locks_journal, switch_journal};
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::fold_position::FoldPosition;
use crate::worker::rebuild::lost_entries;
use crate::worker::rebuild::replay::{ReplayItem, item_from_entry};
use crate::worker::router::Router;

/// How many entries are decoded together.
const CHUNK_SIZE: usize = 256;
/// How many chunks are read, and decoded or being decoded, beyond the one that is folded.
const CHUNKS_AHEAD: usize = 4;
/// The most entries that are folded in a second beside the orders, so that the machine is left to these.
const BACKGROUND_ENTRIES_PER_SECOND: u32 = 20_000;

/// What a fold reads, and what it has to know beside the journal.
#[derive(Debug, Clone)]
pub struct FoldSource {
    /// The journal, with its archive.
    pub journal: JournalReader,
    /// Where orders take effect: of two orders for one id in the store the later is void.
    pub places: OrderPlaces,
    /// For how long orders that have ended are remembered.
    pub retention: Duration,
    /// How far the fold is.
    pub progress: watch::Sender<FoldPosition>,
}

/// Where orders take effect: in the store, or at a venue outside of it.
#[derive(Debug, Clone)]
pub enum OrderPlaces {
    /// As a worker's brokers say.
    OfWorker(Router),
    /// Live orders take effect at venues; others in the store, where their broker is one of these.
    InStore(BTreeSet<BrokerId>),
}

impl OrderPlaces {
    /// Reports whether the effects of an order take place at a venue outside the store.
    pub fn is_at_venue(&self, order: &Order) -> bool {
        match self {
            Self::OfWorker(router) => router.places_at_venue(order),
            Self::InStore(brokers) => order.mode == Mode::Live || !brokers.contains(&order.broker),
        }
    }
}

impl FoldSource {
    /// Returns what a worker's folds need.
    pub(in crate::worker) fn of(router: &Router) -> Self {
        Self {
            journal: router.journal_reader.clone(),
            places: OrderPlaces::OfWorker(router.clone()),
            retention: router.snapshots.retention,
            progress: router.fold_progress.clone(),
        }
    }
}

/// The pace of a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum FoldPace {
    /// As fast as possible: no order is accepted meanwhile.
    Full,
    /// Beside the orders, at a bounded rate.
    Background,
}

/// The end of a fold.
#[derive(Debug)]
pub(in crate::worker) struct FoldedJournal {
    /// The state after the last entry.
    pub state: FoldedState,
    /// The SHA-256 of the last entry's body, in hex; `None` if there was no entry.
    pub last_entry_sha256: Option<String>,
}

/// A journal entry that is ready to be folded.
pub struct DecodedEntry {
    sequence: u64,
    stored_at: Timestamp,
    event: DecodedEvent,
}

enum DecodedEvent {
    /// An order's event, and its epoch.
    Order(Box<ReplayItem>, i64),
    /// An adjustment, and its epoch.
    Adjustment(Box<AdjustmentBooking>, i64),
    Lock(JournaledLockEvent),
    Switch(JournaledSwitchEvent),
    /// No part of the sums.
    Other,
    /// Entries that the journal has lost, to this sequence.
    Gap {
        to: u64,
    },
}

/// Folds the journal's entries after those that a state holds, up to `last_sequence`.
///
/// # Errors
/// When the journal does not reply, has lost entries that no operator has accepted, or an entry cannot be decoded.
pub(in crate::worker) async fn fold_journal(
    source: &FoldSource,
    mut state: FoldedState,
    last_sequence: u64,
    pace: FoldPace,
) -> Result<FoldedJournal, StoreRebuildError> {
    let mut decoding = decode_ahead(&source.journal, state.progress.sequence + 1, last_sequence);
    let (started_at, mut entries) = (Instant::now(), 0_u32);
    let mut last_entry_sha256 = None;
    while let Some(chunk) = decoding.recv().await {
        let (chunk, sha256) = chunk
            .await
            .map_err(|error| StoreRebuildError::Journal(error.to_string()))??;
        entries = entries.saturating_add(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        for entry in chunk {
            apply_entry(source, &mut state, entry).await?;
        }
        source.progress.send_replace(FoldPosition {
            sequence: state.progress.sequence,
            last_sequence,
        });
        last_entry_sha256 = sha256.or(last_entry_sha256);
        if pace == FoldPace::Background {
            let due = Duration::from_secs(1) * entries / BACKGROUND_ENTRIES_PER_SECOND;
            tokio::time::sleep_until(started_at + due).await;
        }
    }
    if state.progress.sequence < last_sequence {
        let reached = state.progress.sequence;
        let detail = format!("reading ended at sequence {reached}, before {last_sequence}; the rebuild is tried again");
        return Err(StoreRebuildError::Journal(detail));
    }
    Ok(FoldedJournal {
        state,
        last_entry_sha256,
    })
}

/// The entries of a chunk in order, and the checksum of the last one's body.
type DecodedChunk = Result<(Vec<DecodedEntry>, Option<String>), StoreRebuildError>;

/// Starts to read and decode entries, and returns the chunks in order. The task ends when the receiver is dropped.
fn decode_ahead(
    journal: &JournalReader,
    from_sequence: u64,
    to_sequence: u64,
) -> mpsc::Receiver<JoinHandle<DecodedChunk>> {
    let entries = journal.replay(from_sequence, to_sequence);
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(async move {
        let mut chunks = std::pin::pin!(entries.chunks(CHUNK_SIZE));
        while let Some(chunk) = chunks.next().await {
            let decoding = tokio::task::spawn_blocking(move || decode_chunk(chunk));
            if sender.send(decoding).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Folds the journal's entries after those that a state holds, up to `last_sequence`, beside a store in use.
///
/// # Errors
/// As [`decode_entry`] and [`apply_entry`].
pub async fn fold_on(
    source: &FoldSource,
    state: FoldedState,
    last_sequence: u64,
) -> Result<FoldedState, StoreRebuildError> {
    let folded = fold_journal(source, state, last_sequence, FoldPace::Full).await?;
    Ok(folded.state)
}

/// Decodes entries. Returns the checksum of the last one, too.
fn decode_chunk(chunk: Vec<Result<StoredEntry, BusError>>) -> DecodedChunk {
    let last = chunk.iter().rev().find_map(|entry| entry.as_ref().ok());
    let sha256 = last.map(|entry| ContentHash::of(&entry.body).0.to_string());
    let decoded: Result<_, StoreRebuildError> = chunk.into_iter().map(decode_entry).collect();
    Ok((decoded?, sha256))
}

/// Decodes an entry, or a gap of the journal.
///
/// # Errors
/// When the journal does not reply, or the entry cannot be decoded.
pub fn decode_entry(entry: Result<StoredEntry, BusError>) -> Result<DecodedEntry, StoreRebuildError> {
    let entry = match entry {
        Err(BusError::JournalGap { from, to }) => {
            return Ok(DecodedEntry {
                sequence: from,
                stored_at: Timestamp::from_milliseconds(0),
                event: DecodedEvent::Gap { to },
            });
        }
        entry => entry?,
    };
    let (sequence, stored_at) = (entry.sequence, entry.stored_at);
    let event = if subjects::is_adjustment(&entry.subject) {
        let (booking, epoch) = booking_from_event(&entry.body)?;
        DecodedEvent::Adjustment(Box::new(booking), epoch)
    } else if subjects::is_lock(&entry.subject) {
        DecodedEvent::Lock(locks_journal::lock_update_from_entry(&entry)?)
    } else if subjects::is_heartbeat(&entry.subject) {
        DecodedEvent::Switch(switch_journal::switch_event_from_entry(&entry)?)
    } else {
        item_from_entry(entry)?.map_or(DecodedEvent::Other, |(item, epoch)| {
            DecodedEvent::Order(Box::new(item), epoch)
        })
    };
    Ok(DecodedEntry {
        sequence,
        stored_at,
        event,
    })
}

/// Folds an entry.
///
/// # Errors
/// When the journal does not reply, or it has lost entries that no operator has accepted.
pub async fn apply_entry(
    source: &FoldSource,
    state: &mut FoldedState,
    entry: DecodedEntry,
) -> Result<(), StoreRebuildError> {
    let (sequence, stored_at) = (entry.sequence, entry.stored_at);
    match entry.event {
        DecodedEvent::Gap { to } => {
            lost_entries::check_accepted(&source.journal, sequence, to).await?;
            state.progress.has_lost_entries = true;
            state.progress.sequence = to;
            return Ok(());
        }
        DecodedEvent::Order(item, epoch) => {
            state.progress.newest_epoch = state.progress.newest_epoch.max(epoch);
            match *item {
                ReplayItem::Report(mut report) => {
                    include_lost_versions(source, state, &mut report).await?;
                    let context = ReportContext {
                        stored_at,
                        retention: source.retention,
                        is_at_venue: source.places.is_at_venue(&report.order),
                    };
                    log_conflict(&report.order, state.apply_report(&report, &context));
                }
                ReplayItem::Submission(submission) => {
                    state.apply_submission(&submission, stored_at, source.retention);
                }
            }
        }
        DecodedEvent::Adjustment(booking, epoch) => {
            state.progress.newest_epoch = state.progress.newest_epoch.max(epoch);
            state.apply_adjustment(&booking, sequence, stored_at);
        }
        DecodedEvent::Lock(event) => state.apply_lock(event, sequence),
        DecodedEvent::Switch(event) => state.apply_switch(event, sequence),
        DecodedEvent::Other => {}
    }
    state.progress.sequence = sequence;
    Ok(())
}

/// Makes a report count from the last version that is known, where the versions between them are lost.
async fn include_lost_versions(
    source: &FoldSource,
    state: &mut FoldedState,
    report: &mut OrderReplay,
) -> Result<(), StoreRebuildError> {
    match state.find_lost_versions(&report.order) {
        LostVersions::None => {}
        LostVersions::All => *report = count_from_nothing(report)?,
        LostVersions::After { sequence, document } => {
            let document = match document {
                Some(document) => document,
                None => {
                    let stored = source.journal.read_entry(sequence).await?;
                    let missing = || StoreRebuildError::Journal(format!("the journal has no entry {sequence}"));
                    stored.ok_or_else(missing)?.body
                }
            };
            let known = order_from_document(&document)?;
            state.undo_known_versions(&known).ok_or_else(|| inexact_sums(&known))?;
            *report = count_from_nothing(report)?;
        }
    }
    Ok(())
}

fn count_from_nothing(report: &OrderReplay) -> Result<OrderReplay, StoreRebuildError> {
    report.from_nothing().ok_or_else(|| inexact_sums(&report.order))
}

fn inexact_sums(order: &Order) -> StoreRebuildError {
    StoreRebuildError::Journal(format!("the sums of order {} leave the exact range", order.order_id))
}

fn log_conflict(order: &Order, folded: FoldedReport) {
    match folded {
        FoldedReport::Applied | FoldedReport::Ignored => {}
        FoldedReport::BuildsOnVoid => tracing::error!(
            order_id = %order.order_id, version = order.version,
            "an effect builds on another one than the first of its version on the journal, and is void: compare with the venue"
        ),
        FoldedReport::ReplacesSubmission(stored) => tracing::error!(
            first = %order.order_id, %stored,
            "two orders have one id: the one with a report counts, the other is void and its reservation is released"
        ),
        FoldedReport::ConflictsWithSubmission(stored) => tracing::error!(
            first = %order.order_id, %stored,
            "two orders have one id, and both may be at their venue: compare with the venue and adjust the account"
        ),
    }
}
