//! The feeds: one task per stream reads and decodes entries and queues them for the writer. What the journal has dropped
//! is read from its archive.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::bus::connection::{Bus, BusError};
use crate::bus::journal::JournalReader;
use crate::bus::stream_follower::{FollowEvent, StartPosition, StreamExtent, StreamFollower};
use crate::bus::subjects::{STREAM_ALERTS, STREAM_REPORTS};
use crate::order_log::ingest::entry::{StreamEntry, decode_alert_entry, decode_journal_entry};
use crate::order_log::tables::watermarks::LogStream;

/// The delay before a stream is followed again, and before the follower retries.
pub(in crate::order_log) const RETRY_DELAY: Duration = Duration::from_millis(500);

/// What a feed reports about its stream.
#[derive(Debug)]
pub(in crate::order_log) enum FeedItem {
    /// The stream is open, and this is its extent.
    StreamOpened(LogStream, StreamExtent),
    /// The stream has this entry.
    Entry(LogStream, StreamEntry),
    /// Every entry that the stream held at the start was read.
    CaughtUp(LogStream),
    /// The stream cannot be followed; the feed retries.
    StreamFailed(LogStream, BusError),
}

/// Follows a stream from a sequence on and queues what it reads, until the receiver is dropped. A stream that fails is
/// followed again after a delay.
pub(in crate::order_log) async fn forward_stream(
    stream: LogStream,
    bus: Bus,
    mut next_sequence: u64,
    items: mpsc::Sender<FeedItem>,
) {
    let name = match stream {
        LogStream::Journal => STREAM_REPORTS,
        LogStream::Alerts => STREAM_ALERTS,
    };
    let reader = JournalReader::new(bus.clone());
    loop {
        let mut follower = StreamFollower::new(bus.clone(), name, StartPosition::From(next_sequence));
        loop {
            let event = follower.next().await;
            let event = match (stream, event) {
                (LogStream::Journal, Ok(event)) => {
                    let end = match &event {
                        FollowEvent::Started(_) => next_sequence,
                        FollowEvent::Entry(stored) => stored.sequence,
                        FollowEvent::CaughtUp => follower.last_sequence() + 1,
                    };
                    match forward_archived(&reader, &mut next_sequence, end, &items).await {
                        Ok(()) => with_archived_extent(&reader, event, next_sequence).await,
                        Err(error) => Err(error),
                    }
                }
                (_, event) => event,
            };
            let item = match event {
                Ok(FollowEvent::Started(extent)) => {
                    next_sequence = extent.next_sequence;
                    FeedItem::StreamOpened(stream, extent)
                }
                Ok(FollowEvent::CaughtUp) => FeedItem::CaughtUp(stream),
                Err(error) => FeedItem::StreamFailed(stream, error),
                Ok(FollowEvent::Entry(stored)) => {
                    next_sequence = stored.sequence + 1;
                    let entry = match stream {
                        LogStream::Journal => decode_journal_entry(&stored),
                        LogStream::Alerts => decode_alert_entry(&stored),
                    };
                    FeedItem::Entry(stream, entry)
                }
            };
            let has_failed = matches!(item, FeedItem::StreamFailed(..));
            if items.send(item).await.is_err() {
                return;
            }
            if has_failed {
                break;
            }
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Queues the entries before `end` that the journal has dropped and the archive has. The writer records those that are in
/// neither.
async fn forward_archived(
    reader: &JournalReader,
    next_sequence: &mut u64,
    end: u64,
    items: &mpsc::Sender<FeedItem>,
) -> Result<(), BusError> {
    if *next_sequence >= end {
        return Ok(());
    }
    let mut entries = std::pin::pin!(reader.replay(*next_sequence, end - 1));
    while let Some(entry) = entries.next().await {
        let entry = match entry {
            Ok(entry) => entry,
            Err(BusError::JournalGap { .. }) => continue,
            Err(error) => return Err(error),
        };
        *next_sequence = entry.sequence + 1;
        let item = FeedItem::Entry(LogStream::Journal, decode_journal_entry(&entry));
        if items.send(item).await.is_err() {
            // The feed ends with its next item.
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the event; the extent of a journal includes the entries that are in its archive.
async fn with_archived_extent(
    reader: &JournalReader,
    event: FollowEvent,
    wanted: u64,
) -> Result<FollowEvent, BusError> {
    let FollowEvent::Started(extent) = event else {
        return Ok(event);
    };
    let covered = reader.first_covered_sequence().await?.max(1);
    Ok(FollowEvent::Started(StreamExtent {
        first_sequence: extent.first_sequence.min(covered),
        next_sequence: extent.next_sequence.min(wanted.max(covered)),
        ..extent
    }))
}
