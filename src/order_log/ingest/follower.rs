//! Following the streams: what they bring is applied in batches of whatever is waiting, and whatever goes wrong is tried
//! again from where the file stands.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::connection::{Bus, BusError};
use crate::bus::journal::JournalReader;
use crate::bus::stream_follower::{FollowEvent, StartPosition, StreamExtent, StreamFollower};
use crate::bus::subjects::{STREAM_ALERTS, STREAM_REPORTS};
use crate::order_log::database::schema::requires_rebuild;
use crate::order_log::ingest::entry::{StreamEntry, decode_alert_entry, decode_journal_entry};
use crate::order_log::ingest::writer::{LogStream, OrderLogWriteError, OrderLogWriter, StreamWatermark, remove_files};
use crate::order_log::status::SyncState;
use crate::order_log::{MAX_CONCURRENT_READS, OrderLogShared};

/// The most entries of one transaction.
const MAX_BATCH_ENTRIES: usize = 2_048;
/// The most entries that wait for the writer.
const FEED_QUEUE_CAPACITY: usize = 4_096;
/// The pause before something that went wrong is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long it waits for readers to end before it empties a long write-ahead file; the next look tries it again.
const READER_DRAIN_TIMEOUT: Duration = Duration::from_millis(250);
/// How often an idle log looks whether its file still stands where it was.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What a feed brings.
#[derive(Debug)]
enum FeedItem {
    StreamOpened(LogStream, StreamExtent),
    Entry(LogStream, StreamEntry),
    CaughtUp(LogStream),
    StreamFailed(LogStream, BusError),
}

/// Why following has to begin again.
#[derive(Debug)]
enum FollowInterruption {
    /// The file that was opened is not the one that stands there now.
    FileReplaced,
    /// A reader has found the file broken.
    FileCorrupt,
    /// The journal does not answer.
    BusUnavailable(BusError),
    /// The file cannot be written.
    WriteFailed(OrderLogWriteError),
    /// The journal is not the one that the log is of.
    JournalMismatch(String),
}

impl From<OrderLogWriteError> for FollowInterruption {
    fn from(error: OrderLogWriteError) -> Self {
        Self::WriteFailed(error)
    }
}

/// Which streams have been read to their ends.
#[derive(Debug, Default)]
struct CaughtUpStreams {
    journal: bool,
    alerts: bool,
}

impl CaughtUpStreams {
    fn set(&mut self, source: LogStream, is_whole: bool) {
        match source {
            LogStream::Journal => self.journal = is_whole,
            LogStream::Alerts => self.alerts = is_whole,
        }
    }
}

/// The one who follows.
struct OrderLogFollower {
    shared: Arc<OrderLogShared>,
    bus: Bus,
    /// None before the file is open, and once it cannot be used any more.
    writer: Option<OrderLogWriter>,
}

/// Follows until it is stopped.
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
    /// Follows until something is in the way, and waits a moment.
    async fn follow_until_interrupted(&mut self) {
        let shared = Arc::clone(&self.shared);
        match self.follow().await {
            Ok(()) => {}
            Err(FollowInterruption::FileReplaced) => {
                tracing::warn!("the order log's file is gone from its place: it is made anew");
                self.writer = None;
            }
            Err(FollowInterruption::FileCorrupt) => {
                shared.set_sync_state(SyncState::WriteFailed(
                    "the file is broken, and is made anew".to_owned(),
                ));
                self.discard_file();
            }
            Err(FollowInterruption::BusUnavailable(error)) => {
                shared.set_sync_state(SyncState::StreamUnavailable(format!(
                    "the journal cannot be followed: {error}"
                )));
            }
            Err(FollowInterruption::JournalMismatch(why)) => shared.set_sync_state(SyncState::JournalMismatch(why)),
            Err(FollowInterruption::WriteFailed(error)) => {
                let is_broken = matches!(&error, OrderLogWriteError::Sqlite(error) if requires_rebuild(error));
                shared.set_sync_state(SyncState::WriteFailed(error.to_string()));
                if is_broken {
                    self.discard_file();
                }
            }
        }
        sleep(RETRY_DELAY).await;
    }

    /// Gives the file up, so that it is made anew.
    fn discard_file(&mut self) {
        if let Err(error) = remove_files(&self.shared.path) {
            tracing::error!(%error, "the order log's broken file cannot be removed");
        }
        // Only now does it let go of the lock.
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
        // Whatever ends this ends the feeds, too.
        let mut feeds = JoinSet::new();
        for source in [LogStream::Journal, LogStream::Alerts] {
            let next = self.watermark(source).map_or(1, |applied| applied.sequence + 1);
            feeds.spawn(forward_stream(source, self.bus.clone(), next, sender.clone()));
        }
        drop(sender);
        let mut whole = CaughtUpStreams::default();
        let mut items = Vec::with_capacity(MAX_BATCH_ENTRIES);
        let mut looked_at = Instant::now();
        loop {
            if looked_at.elapsed() >= FILE_CHECK_INTERVAL {
                looked_at = Instant::now();
                self.check_file().await?;
            }
            if self.shared.is_corrupt.swap(false, Ordering::AcqRel) {
                return Err(FollowInterruption::FileCorrupt);
            }
            match timeout(FILE_CHECK_INTERVAL, receiver.recv_many(&mut items, MAX_BATCH_ENTRIES)).await {
                // The feeds have ended, which they do not by themselves.
                Ok(0) => return Ok(()),
                Ok(_) => self.process_items(std::mem::take(&mut items), &mut whole).await?,
                Err(_) => self.run_writer(OrderLogWriter::checkpoint).await?,
            }
        }
    }

    /// Applies what has come, in its order.
    async fn process_items(
        &mut self,
        items: Vec<FeedItem>,
        caught_up: &mut CaughtUpStreams,
    ) -> Result<(), FollowInterruption> {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            if let FeedItem::Entry(source, entry) = item {
                entries.push((source, entry));
                continue;
            }
            self.apply_entries(std::mem::take(&mut entries)).await?;
            match item {
                FeedItem::Entry(..) => {}
                FeedItem::StreamOpened(source, extent) => self.open_stream(source, extent).await?,
                // It is tried again; the other stream goes on.
                FeedItem::StreamFailed(source, error) => {
                    caught_up.set(source, false);
                    let why = format!("the stream of the {} cannot be followed: {error}", source.name());
                    self.shared.set_sync_state(SyncState::StreamUnavailable(why));
                }
                FeedItem::CaughtUp(source) => {
                    caught_up.set(source, true);
                    self.shared.mark_caught_up(source);
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

    /// Holds a stream against what is applied of it.
    async fn open_stream(&mut self, source: LogStream, extent: StreamExtent) -> Result<(), FollowInterruption> {
        let known = self.watermark(source);
        let goes_on = match known {
            Some(known) => is_continuation(&self.bus, source, known, extent).await?,
            None => false,
        };
        if source == LogStream::Journal {
            if let Some(known) = known.filter(|_| !goes_on) {
                return Err(FollowInterruption::JournalMismatch(describe_mismatch(
                    known,
                    extent,
                    &self.shared.path,
                )));
            }
            self.shared.set_journal_end(extent.last_sequence);
        }
        if source == LogStream::Alerts {
            self.run_writer(move |writer| writer.delete_alerts_before(extent.first_sequence))
                .await?;
        }
        if goes_on {
            return Ok(());
        }
        if source == LogStream::Journal && extent.first_sequence > 1 {
            tracing::warn!(
                first = extent.first_sequence,
                "the journal has lost its beginning: the order log begins later"
            );
        }
        let at = StreamWatermark {
            stream_created_at: extent.created_at,
            sequence: extent.next_sequence.saturating_sub(1),
            stored_at: extent.created_at,
        };
        self.run_writer(move |writer| writer.start_stream(source, at)).await
    }

    /// Looks whether the file still stands where it was, and how large it has become.
    async fn check_file(&mut self) -> Result<(), FollowInterruption> {
        let Some(writer) = self.writer.as_ref().filter(|writer| writer.is_file_in_place()) else {
            return Err(FollowInterruption::FileReplaced);
        };
        if !writer.is_wal_too_long() {
            return Ok(());
        }
        let every_place = u32::try_from(MAX_CONCURRENT_READS).unwrap_or(u32::MAX);
        let nobody_reads = Arc::clone(&self.shared.read_permits).acquire_many_owned(every_place);
        let Ok(Ok(_held)) = timeout(READER_DRAIN_TIMEOUT, nobody_reads).await else {
            return Ok(());
        };
        self.run_writer(OrderLogWriter::truncate_wal).await
    }

    fn watermark(&self, source: LogStream) -> Option<StreamWatermark> {
        self.writer.as_ref().and_then(|writer| writer.watermark(source))
    }

    /// Lets the writer do something where waiting for the disk holds up nobody else.
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
        self.shared.publish_progress(&writer);
        self.writer = Some(writer);
        Ok(done?)
    }
}

/// Whether a stream is the one that was followed, and has what comes next.
async fn is_continuation(
    bus: &Bus,
    source: LogStream,
    known: StreamWatermark,
    extent: StreamExtent,
) -> Result<bool, FollowInterruption> {
    let is_in_it = known.stream_created_at == extent.created_at
        && known.sequence <= extent.last_sequence
        && known.sequence + 1 >= extent.first_sequence;
    if source == LogStream::Alerts || !is_in_it || known.sequence < extent.first_sequence {
        return Ok(is_in_it);
    }
    // One that was restored from an older copy, and has grown since, has another entry at this place.
    let stored = JournalReader::new(bus.clone()).read_entry(known.sequence).await;
    match stored {
        Ok(Some(stored)) => Ok(stored.stored_at == known.stored_at),
        // Nothing is there to be compared.
        Ok(None) => Ok(true),
        Err(error) => Err(FollowInterruption::BusUnavailable(error)),
    }
}

fn describe_mismatch(known: StreamWatermark, extent: StreamExtent, path: &Path) -> String {
    let what = if known.stream_created_at == extent.created_at && known.sequence + 1 < extent.first_sequence {
        format!(
            "its first entry is {}, and the log has come to entry {}: it has lost entries",
            extent.first_sequence, known.sequence
        )
    } else if known.stream_created_at == extent.created_at && known.sequence <= extent.last_sequence {
        format!(
            "it has another entry {} than the one that the log has applied",
            known.sequence
        )
    } else if known.stream_created_at == extent.created_at {
        format!(
            "its last entry is {}, and the log has come to entry {}: it has lost entries",
            extent.last_sequence, known.sequence
        )
    } else {
        format!(
            "it was created at {}, and the one that the log is of at {}",
            extent.created_at, known.stream_created_at
        )
    };
    format!(
        "{what}. Restore the stream, or, to accept the journal as it is, stop the sidecar, remove {} and start it again",
        path.display()
    )
}

/// Brings what a stream has, and takes, to the writer, from a sequence on; ends when nobody listens. A stream that cannot
/// be followed is looked at again and again.
async fn forward_stream(source: LogStream, bus: Bus, mut next: u64, items: mpsc::Sender<FeedItem>) {
    let stream = match source {
        LogStream::Journal => STREAM_REPORTS,
        LogStream::Alerts => STREAM_ALERTS,
    };
    loop {
        let mut feed = StreamFollower::new(bus.clone(), stream, StartPosition::From(next));
        loop {
            let item = match feed.next().await {
                Ok(FollowEvent::Started(extent)) => FeedItem::StreamOpened(source, extent),
                Ok(FollowEvent::CaughtUp) => FeedItem::CaughtUp(source),
                Err(error) => FeedItem::StreamFailed(source, error),
                Ok(FollowEvent::Entry(stored)) => {
                    next = stored.sequence + 1;
                    let entry = match source {
                        LogStream::Journal => decode_journal_entry(&stored),
                        LogStream::Alerts => decode_alert_entry(&stored),
                    };
                    FeedItem::Entry(source, entry)
                }
            };
            let is_lost = matches!(item, FeedItem::StreamFailed(..));
            if items.send(item).await.is_err() {
                return;
            }
            if is_lost {
                break;
            }
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Runs what waits for the disk where it holds up nobody else.
async fn run_blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, OrderLogWriteError> + Send + 'static,
) -> Result<T, OrderLogWriteError> {
    match spawn_blocking(job).await {
        Ok(done) => done,
        Err(error) => Err(OrderLogWriteError::File(
            "the order log's writer".to_owned(),
            std::io::Error::other(error),
        )),
    }
}

impl OrderLogShared {
    fn set_sync_state(&self, standing: SyncState) {
        self.status.send_if_modified(|status| {
            if status.sync_state == standing {
                return false;
            }
            match &standing {
                SyncState::WriteFailed(why) | SyncState::StreamUnavailable(why) => {
                    tracing::warn!(why, "the order log is behind")
                }
                SyncState::JournalMismatch(why) => tracing::error!(why, "the order log does not follow the journal"),
                SyncState::Current => tracing::info!(
                    journal_sequence = status.journal_sequence,
                    "the order log is up to date"
                ),
                _ => {}
            }
            if matches!(standing, SyncState::JournalMismatch(_)) {
                status.is_complete = false;
            }
            status.sync_state = standing;
            true
        });
    }

    /// Takes note that everything a stream held has been applied.
    fn mark_caught_up(&self, source: LogStream) {
        self.status.send_modify(|status| match source {
            LogStream::Journal => status.is_complete = true,
            LogStream::Alerts => status.has_all_alerts = true,
        });
    }

    /// Takes note that the file is opened, or made anew: what was read of the one before is of no use.
    fn reset_status(&self) {
        self.discard_connections();
        self.status.send_modify(|status| {
            (status.is_complete, status.has_all_alerts) = (false, false);
            if matches!(status.sync_state, SyncState::Current | SyncState::CatchingUp) {
                status.sync_state = SyncState::Opening;
            }
        });
    }

    /// Takes note of how far the journal goes.
    fn set_journal_end(&self, last_sequence: u64) {
        self.status.send_modify(|status| {
            status.journal_last_sequence = last_sequence;
            if !status.is_complete {
                status.sync_state = SyncState::CatchingUp;
            }
        });
    }

    fn publish_progress(&self, writer: &OrderLogWriter) {
        let sequence = writer
            .watermark(LogStream::Journal)
            .map_or(0, |applied| applied.sequence);
        let skipped = writer.skipped_entries();
        self.status.send_modify(|status| {
            status.skipped_entries = skipped;
            status.journal_sequence = sequence;
            status.journal_last_sequence = status.journal_last_sequence.max(sequence);
        });
    }
}
