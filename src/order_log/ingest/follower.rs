//! The follower: applies what the feeds read, in batches of whatever is queued, and retries from the watermarks in the file
//! whatever fails.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::connection::{Bus, BusError};
use crate::bus::journal::JournalReader;
use crate::bus::stream_follower::StreamExtent;
use crate::order_log::database::file::{OrderLogWriteError, remove_files};
use crate::order_log::database::schema::requires_rebuild;
use crate::order_log::ingest::entry::StreamEntry;
use crate::order_log::ingest::feeds::{FeedItem, RETRY_DELAY, forward_stream};
use crate::order_log::ingest::writer::OrderLogWriter;
use crate::order_log::shared::{MAX_CONCURRENT_READS, OrderLogShared};
use crate::order_log::status::SyncState;
use crate::order_log::tables::watermarks::{LogStream, StreamWatermark};

/// The most entries of one transaction.
const MAX_BATCH_ENTRIES: usize = 2_048;
/// The most entries that wait for the writer.
const FEED_QUEUE_CAPACITY: usize = 4_096;
/// How long the follower waits for reads to end before it truncates a long write-ahead log; the next check retries.
const READER_DRAIN_TIMEOUT: Duration = Duration::from_millis(250);
/// How often the follower checks that the open file is still at its path.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Why following has to restart.
#[derive(Debug)]
enum FollowInterruption {
    /// The file at the path is not the open one.
    FileReplaced,
    /// A reader has found the file corrupt.
    FileCorrupt,
    /// The journal does not answer.
    BusUnavailable(BusError),
    /// The file cannot be written.
    WriteFailed(OrderLogWriteError),
    /// The journal is not the one that the log was built from.
    JournalMismatch(String),
}

impl From<OrderLogWriteError> for FollowInterruption {
    fn from(error: OrderLogWriteError) -> Self {
        Self::WriteFailed(error)
    }
}

/// Which streams were read to their ends.
#[derive(Debug, Default)]
struct CaughtUpStreams {
    journal: bool,
    alerts: bool,
}

impl CaughtUpStreams {
    fn set(&mut self, stream: LogStream, is_caught_up: bool) {
        match stream {
            LogStream::Journal => self.journal = is_caught_up,
            LogStream::Alerts => self.alerts = is_caught_up,
        }
    }
}

/// The task that owns the writer.
struct OrderLogFollower {
    shared: Arc<OrderLogShared>,
    bus: Bus,
    /// `None` before the file is open, and once it cannot be used any more.
    writer: Option<OrderLogWriter>,
}

/// Follows the streams until `stop` is cancelled.
pub(in crate::order_log) async fn follow_streams(shared: Arc<OrderLogShared>, bus: Bus, stop: CancellationToken) {
    let mut follower = OrderLogFollower {
        shared,
        bus,
        writer: None,
    };
    while stop
        .run_until_cancelled(follower.follow_until_interrupted())
        .await
        .is_some()
    {}
}

impl OrderLogFollower {
    /// Follows until something fails, handles the failure, and waits for the retry delay.
    async fn follow_until_interrupted(&mut self) {
        let shared = Arc::clone(&self.shared);
        match self.follow().await {
            Ok(()) => {}
            Err(FollowInterruption::FileReplaced) => {
                tracing::warn!("the order log's file was removed or replaced: it is rebuilt from the journal");
                self.writer = None;
            }
            Err(FollowInterruption::FileCorrupt) => {
                let reason = "the file is corrupt and is rebuilt from the journal".to_owned();
                shared.set_sync_state(SyncState::WriteFailed(reason));
                self.discard_file();
            }
            Err(FollowInterruption::BusUnavailable(error)) => {
                let reason = format!("the journal cannot be followed: {error}");
                shared.set_sync_state(SyncState::StreamUnavailable(reason));
            }
            Err(FollowInterruption::JournalMismatch(reason)) => {
                shared.set_sync_state(SyncState::JournalMismatch(reason));
            }
            Err(FollowInterruption::WriteFailed(error)) => {
                let is_unusable = matches!(&error, OrderLogWriteError::Sqlite(error) if requires_rebuild(error));
                shared.set_sync_state(SyncState::WriteFailed(error.to_string()));
                if is_unusable {
                    self.discard_file();
                }
            }
        }
        sleep(RETRY_DELAY).await;
    }

    /// Removes and closes the file, so that it is rebuilt.
    fn discard_file(&mut self) {
        if let Err(error) = remove_files(&self.shared.path) {
            tracing::error!(%error, "the order log's corrupt file cannot be removed");
        }
        // The lock is released only after the removal.
        self.writer = None;
    }

    async fn follow(&mut self) -> Result<(), FollowInterruption> {
        if self.writer.as_ref().is_some_and(|writer| !writer.is_file_in_place()) {
            return Err(FollowInterruption::FileReplaced);
        }
        if self.writer.is_none() {
            let shared = Arc::clone(&self.shared);
            shared.reset_status();
            self.writer = Some(run_blocking(move || OrderLogWriter::open(&shared.path, &shared)).await?);
        }
        let (sender, mut receiver) = mpsc::channel(FEED_QUEUE_CAPACITY);
        // Dropping the set at any return stops the feeds.
        let mut feeds = JoinSet::new();
        for stream in [LogStream::Journal, LogStream::Alerts] {
            let next_sequence = self.watermark(stream).map_or(1, |watermark| watermark.sequence + 1);
            feeds.spawn(forward_stream(stream, self.bus.clone(), next_sequence, sender.clone()));
        }
        drop(sender);
        let mut caught_up = CaughtUpStreams::default();
        let mut items = Vec::with_capacity(MAX_BATCH_ENTRIES);
        let mut checked_at = Instant::now();
        loop {
            if checked_at.elapsed() >= FILE_CHECK_INTERVAL {
                checked_at = Instant::now();
                self.check_file().await?;
            }
            if self.shared.take_corruption() {
                return Err(FollowInterruption::FileCorrupt);
            }
            match timeout(FILE_CHECK_INTERVAL, receiver.recv_many(&mut items, MAX_BATCH_ENTRIES)).await {
                // The feeds have ended: they do so only when they panic.
                Ok(0) => return Ok(()),
                Ok(_) => self.process_items(std::mem::take(&mut items), &mut caught_up).await?,
                Err(_) => self.run_writer(OrderLogWriter::checkpoint).await?,
            }
        }
    }

    /// Processes items in their order, consecutive entries as one batch.
    async fn process_items(
        &mut self,
        items: Vec<FeedItem>,
        caught_up: &mut CaughtUpStreams,
    ) -> Result<(), FollowInterruption> {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            if let FeedItem::Entry(stream, entry) = item {
                entries.push((stream, entry));
                continue;
            }
            self.apply_entries(std::mem::take(&mut entries)).await?;
            match item {
                FeedItem::Entry(..) => {}
                FeedItem::StreamOpened(stream, extent) => self.open_stream(stream, extent).await?,
                // Its feed retries; the other stream is followed all the same.
                FeedItem::StreamFailed(stream, error) => {
                    caught_up.set(stream, false);
                    let reason = format!("the stream of the {} cannot be followed: {error}", stream.name());
                    self.shared.set_sync_state(SyncState::StreamUnavailable(reason));
                }
                FeedItem::CaughtUp(stream) => {
                    caught_up.set(stream, true);
                    self.shared.mark_caught_up(stream);
                    if caught_up.journal && caught_up.alerts {
                        self.shared.set_sync_state(SyncState::Current);
                    }
                }
            }
        }
        self.apply_entries(entries).await
    }

    async fn apply_entries(&mut self, entries: Vec<(LogStream, StreamEntry)>) -> Result<(), FollowInterruption> {
        if entries.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        self.run_writer(move |writer| writer.apply_batch(&shared, &entries))
            .await
    }

    /// Compares an opened stream with what is applied of it.
    ///
    /// # Errors
    /// `JournalMismatch` for a journal that does not continue the applied one: it is never replaced silently. Alerts of
    /// another stream replace the stored ones.
    async fn open_stream(&mut self, stream: LogStream, extent: StreamExtent) -> Result<(), FollowInterruption> {
        let watermark = self.watermark(stream);
        let continues = match watermark {
            Some(watermark) => is_continuation(&self.bus, stream, watermark, extent).await?,
            None => false,
        };
        if stream == LogStream::Journal {
            if let Some(watermark) = watermark.filter(|_| !continues) {
                if is_accepted_loss(&self.bus, watermark, extent).await? {
                    tracing::warn!(
                        applied = watermark.sequence,
                        first = extent.first_sequence,
                        "the journal has lost entries, as an operator accepted: the order log continues without them"
                    );
                    self.shared.set_journal_end(extent.last_sequence);
                    return Ok(());
                }
                let reason = describe_mismatch(watermark, extent, &self.shared.path);
                return Err(FollowInterruption::JournalMismatch(reason));
            }
            self.shared.set_journal_end(extent.last_sequence);
        }
        if stream == LogStream::Alerts {
            self.run_writer(move |writer| writer.delete_alerts_before(extent.first_sequence))
                .await?;
        }
        if continues {
            return Ok(());
        }
        if stream == LogStream::Journal && extent.first_sequence > 1 {
            tracing::warn!(
                first = extent.first_sequence,
                "the journal has lost its first entries: the order log is built without them"
            );
        }
        let start = StreamWatermark {
            stream_created_at: extent.created_at,
            sequence: extent.next_sequence.saturating_sub(1),
            stored_at: extent.created_at,
        };
        self.run_writer(move |writer| writer.start_stream(stream, start)).await
    }

    /// Checks that the open file is still at its path, and truncates a write-ahead log that is too long.
    async fn check_file(&mut self) -> Result<(), FollowInterruption> {
        let Some(writer) = self.writer.as_ref().filter(|writer| writer.is_file_in_place()) else {
            return Err(FollowInterruption::FileReplaced);
        };
        if !writer.is_wal_too_long() {
            return Ok(());
        }
        let all_permits = u32::try_from(MAX_CONCURRENT_READS).unwrap_or(u32::MAX);
        let no_reads = Arc::clone(&self.shared.read_permits).acquire_many_owned(all_permits);
        let Ok(Ok(_permits)) = timeout(READER_DRAIN_TIMEOUT, no_reads).await else {
            return Ok(());
        };
        self.run_writer(OrderLogWriter::truncate_wal).await
    }

    fn watermark(&self, stream: LogStream) -> Option<StreamWatermark> {
        self.writer.as_ref().and_then(|writer| writer.watermark(stream))
    }

    /// Runs a job of the writer on a blocking thread, and publishes the progress.
    async fn run_writer(
        &mut self,
        job: impl FnOnce(&mut OrderLogWriter) -> Result<(), OrderLogWriteError> + Send + 'static,
    ) -> Result<(), FollowInterruption> {
        let Some(mut writer) = self.writer.take() else {
            return Err(FollowInterruption::FileReplaced);
        };
        let (writer, done) = run_blocking(move || {
            let done = job(&mut writer);
            Ok((writer, done))
        })
        .await?;
        let journal = writer.watermark(LogStream::Journal);
        self.shared.publish_progress(
            journal.map_or(0, |watermark| watermark.sequence),
            writer.skipped_entries(),
        );
        self.writer = Some(writer);
        Ok(done?)
    }
}

/// Returns whether a stream is the one that was followed, and has the entry after the watermark or ends at it.
async fn is_continuation(
    bus: &Bus,
    stream: LogStream,
    watermark: StreamWatermark,
    extent: StreamExtent,
) -> Result<bool, FollowInterruption> {
    let is_within = watermark.stream_created_at == extent.created_at
        && watermark.sequence <= extent.last_sequence
        && watermark.sequence + 1 >= extent.first_sequence;
    if stream == LogStream::Alerts || !is_within || watermark.sequence < extent.first_sequence {
        return Ok(is_within);
    }
    // A journal that was restored from an older copy and has grown since has another entry at this sequence.
    match JournalReader::new(bus.clone()).read_entry(watermark.sequence).await {
        Ok(Some(stored)) => Ok(stored.stored_at == watermark.stored_at),
        // There is no entry to compare with.
        Ok(None) => Ok(true),
        Err(error) => Err(FollowInterruption::BusUnavailable(error)),
    }
}

/// Reports whether the journal differs from the applied one only in entries whose loss an operator accepted.
async fn is_accepted_loss(
    bus: &Bus,
    watermark: StreamWatermark,
    extent: StreamExtent,
) -> Result<bool, FollowInterruption> {
    let next = watermark.sequence + 1;
    if watermark.stream_created_at != extent.created_at || next >= extent.first_sequence {
        return Ok(false);
    }
    let accepted = JournalReader::new(bus.clone()).read_accepted_loss().await;
    let accepted = accepted.map_err(FollowInterruption::BusUnavailable)?;
    Ok(accepted.is_some_and(|(event, _)| event.covers_gap(next, extent.first_sequence - 1)))
}

/// Returns why a journal does not continue the applied one, and what an operator can do.
fn describe_mismatch(watermark: StreamWatermark, extent: StreamExtent, path: &Path) -> String {
    let (applied, first, last) = (watermark.sequence, extent.first_sequence, extent.last_sequence);
    let restart = || format!("stop the sidecar, remove {} and start it again", path.display());
    let (reason, remedy) = if watermark.stream_created_at != extent.created_at {
        let reason = format!(
            "it was created at {}, and the one that the log was built from at {}",
            extent.created_at, watermark.stream_created_at
        );
        (reason, restart())
    } else if applied > last {
        let reason =
            format!("its last entry is {last}, and the log has applied entry {applied}: the journal has lost entries");
        (reason, restart())
    } else if applied + 1 < first {
        let reason = format!(
            "its first entry is {first}, and the log has applied entry {applied}: the journal has lost entries"
        );
        let accept = "run `order-router journal accept-loss --actor NAME --reason TEXT`, and the order log continues";
        (reason, accept.to_owned())
    } else {
        (
            format!("its entry {applied} is not the one that the log has applied"),
            restart(),
        )
    };
    format!("{reason}. Restore the stream, or accept the journal as it is: {remedy}")
}

/// Runs a job that may wait for the disk on a blocking thread.
async fn run_blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, OrderLogWriteError> + Send + 'static,
) -> Result<T, OrderLogWriteError> {
    spawn_blocking(job).await.unwrap_or_else(|error| {
        let name = "the writer of the order log".to_owned();
        Err(OrderLogWriteError::File(name, std::io::Error::other(error)))
    })
}
