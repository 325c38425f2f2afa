//! The feeds: one task per stream reads and decodes entries and queues them for the writer.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::bus::connection::{Bus, BusError};
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
    loop {
        let mut follower = StreamFollower::new(bus.clone(), name, StartPosition::From(next_sequence));
        loop {
            let item = match follower.next().await {
                Ok(FollowEvent::Started(extent)) => FeedItem::StreamOpened(stream, extent),
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
