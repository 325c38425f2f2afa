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

use super::event::{Entry, read, read_alert};
use super::schema::is_broken;
use super::status::Standing;
use super::writer::{Applied, Source, WriteError, Writer, remove};
use super::{READS_MAX, Shared};
use crate::bus::connection::{Bus, BusError};
use crate::bus::feed::{Extent, Feed, Followed, Start};
use crate::bus::journal::Reader;
use crate::bus::subjects::{STREAM_ALERTS, STREAM_REPORTS};

/// The most entries of one transaction.
const BATCH_MAX: usize = 2_048;
/// The most entries that wait for the writer.
const WAITING_MAX: usize = 4_096;
/// The pause before something that went wrong is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long it waits for readers to end before it empties a long write-ahead file; the next look tries it again.
const READERS_WAIT: Duration = Duration::from_millis(250);
/// How often an idle log looks whether its file still stands where it was.
const LOOK: Duration = Duration::from_secs(1);

/// What a feed brings.
#[derive(Debug)]
enum Item {
    Begun(Source, Extent),
    Entry(Source, Entry),
    CaughtUp(Source),
    Lost(Source, BusError),
}

/// Why following has to begin again.
#[derive(Debug)]
enum Interruption {
    /// The file that was opened is not the one that stands there now.
    Moved,
    /// A reader has found the file broken.
    Broken,
    /// The journal does not answer.
    Cut(BusError),
    /// The file cannot be written.
    Write(WriteError),
    /// The journal is not the one that the log is of.
    Refused(String),
}

impl From<WriteError> for Interruption {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

/// Which streams have been read to their ends.
#[derive(Debug, Default)]
struct Whole {
    journal: bool,
    alerts: bool,
}

impl Whole {
    fn set(&mut self, source: Source, is_whole: bool) {
        match source {
            Source::Journal => self.journal = is_whole,
            Source::Alerts => self.alerts = is_whole,
        }
    }
}

/// The one who follows.
struct Follower {
    shared: Arc<Shared>,
    bus: Bus,
    /// None before the file is open, and once it cannot be used any more.
    writer: Option<Writer>,
}

/// Follows until it is stopped.
pub(super) async fn run(shared: Arc<Shared>, bus: Bus, stop: CancellationToken) {
    let mut follower = Follower {
        shared,
        bus,
        writer: None,
    };
    while stop.run_until_cancelled(follower.follow_once()).await.is_some() {}
}

impl Follower {
    /// Follows until something is in the way, and waits a moment.
    async fn follow_once(&mut self) {
        let shared = Arc::clone(&self.shared);
        match self.follow().await {
            Ok(()) => {}
            Err(Interruption::Moved) => {
                tracing::warn!("the order log's file is gone from its place: it is made anew");
                self.writer = None;
            }
            Err(Interruption::Broken) => {
                shared.stand(Standing::Behind("the file is broken, and is made anew".to_owned()));
                self.give_up();
            }
            Err(Interruption::Cut(error)) => {
                shared.stand(Standing::Cut(format!("the journal cannot be followed: {error}")));
            }
            Err(Interruption::Refused(why)) => shared.stand(Standing::Refused(why)),
            Err(Interruption::Write(error)) => {
                let is_broken = matches!(&error, WriteError::Sqlite(error) if is_broken(error));
                shared.stand(Standing::Behind(error.to_string()));
                if is_broken {
                    self.give_up();
                }
            }
        }
        sleep(PAUSE).await;
    }

    /// Gives the file up, so that it is made anew.
    fn give_up(&mut self) {
        if let Err(error) = remove(&self.shared.path) {
            tracing::error!(%error, "the order log's broken file cannot be removed");
        }
        // Only now does it let go of the lock.
        self.writer = None;
    }

    async fn follow(&mut self) -> Result<(), Interruption> {
        if self.writer.as_ref().is_some_and(|writer| !writer.is_in_place()) {
            return Err(Interruption::Moved);
        }
        if self.writer.is_none() {
            let shared = Arc::clone(&self.shared);
            shared.opens();
            self.writer = Some(blocking(move || Writer::open(&shared.path, &shared)).await?);
        }
        let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
        // Whatever ends this ends the feeds, too.
        let mut feeds = JoinSet::new();
        for source in [Source::Journal, Source::Alerts] {
            let next = self.applied(source).map_or(1, |applied| applied.sequence + 1);
            feeds.spawn(bring(source, self.bus.clone(), next, sender.clone()));
        }
        drop(sender);
        let mut whole = Whole::default();
        let mut items = Vec::with_capacity(BATCH_MAX);
        let mut looked_at = Instant::now();
        loop {
            if looked_at.elapsed() >= LOOK {
                looked_at = Instant::now();
                self.look().await?;
            }
            if self.shared.is_broken.swap(false, Ordering::AcqRel) {
                return Err(Interruption::Broken);
            }
            match timeout(LOOK, receiver.recv_many(&mut items, BATCH_MAX)).await {
                // The feeds have ended, which they do not by themselves.
                Ok(0) => return Ok(()),
                Ok(_) => self.take(std::mem::take(&mut items), &mut whole).await?,
                Err(_) => self.write(Writer::checkpoint).await?,
            }
        }
    }

    /// Applies what has come, in its order.
    async fn take(&mut self, items: Vec<Item>, whole: &mut Whole) -> Result<(), Interruption> {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            if let Item::Entry(source, entry) = item {
                entries.push((source, entry));
                continue;
            }
            self.apply(std::mem::take(&mut entries)).await?;
            match item {
                Item::Entry(..) => {}
                Item::Begun(source, extent) => self.begin(source, extent).await?,
                // It is tried again; the other stream goes on.
                Item::Lost(source, error) => {
                    whole.set(source, false);
                    let why = format!("the stream of the {} cannot be followed: {error}", source.name());
                    self.shared.stand(Standing::Cut(why));
                }
                Item::CaughtUp(source) => {
                    whole.set(source, true);
                    self.shared.holds(source);
                    if whole.journal && whole.alerts {
                        self.shared.stand(Standing::Current);
                    }
                }
            }
        }
        self.apply(entries).await
    }

    async fn apply(&mut self, entries: Vec<(Source, Entry)>) -> Result<(), Interruption> {
        if entries.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        self.write(move |writer| writer.apply(&shared, &entries)).await
    }

    /// Holds a stream against what is applied of it.
    async fn begin(&mut self, source: Source, extent: Extent) -> Result<(), Interruption> {
        let known = self.applied(source);
        let goes_on = match known {
            Some(known) => goes_on(&self.bus, source, known, extent).await?,
            None => false,
        };
        if source == Source::Journal {
            if let Some(known) = known.filter(|_| !goes_on) {
                return Err(Interruption::Refused(refusal(known, extent, &self.shared.path)));
            }
            self.shared.begins(extent.last_sequence);
        }
        if source == Source::Alerts {
            self.write(move |writer| writer.drop_alerts_before(extent.first_sequence))
                .await?;
        }
        if goes_on {
            return Ok(());
        }
        if source == Source::Journal && extent.first_sequence > 1 {
            tracing::warn!(
                first = extent.first_sequence,
                "the journal has lost its beginning: the order log begins later"
            );
        }
        let at = Applied {
            created: extent.created,
            sequence: extent.next_sequence.saturating_sub(1),
            taken_at: extent.created,
        };
        self.write(move |writer| writer.begin(source, at)).await
    }

    /// Looks whether the file still stands where it was, and how large it has become.
    async fn look(&mut self) -> Result<(), Interruption> {
        let Some(writer) = self.writer.as_ref().filter(|writer| writer.is_in_place()) else {
            return Err(Interruption::Moved);
        };
        if !writer.has_long_wal() {
            return Ok(());
        }
        let every_place = u32::try_from(READS_MAX).unwrap_or(u32::MAX);
        let nobody_reads = Arc::clone(&self.shared.places).acquire_many_owned(every_place);
        let Ok(Ok(_held)) = timeout(READERS_WAIT, nobody_reads).await else {
            return Ok(());
        };
        self.write(Writer::empty_wal).await
    }

    fn applied(&self, source: Source) -> Option<Applied> {
        self.writer.as_ref().and_then(|writer| writer.applied(source))
    }

    /// Lets the writer do something where waiting for the disk holds up nobody else.
    async fn write(
        &mut self,
        job: impl FnOnce(&mut Writer) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<(), Interruption> {
        let Some(mut writer) = self.writer.take() else {
            return Err(Interruption::Moved);
        };
        let (writer, done) = blocking(move || {
            let done = job(&mut writer);
            Ok((writer, done))
        })
        .await?;
        self.shared.come_to(&writer);
        self.writer = Some(writer);
        Ok(done?)
    }
}

/// Whether a stream is the one that was followed, and has what comes next.
async fn goes_on(bus: &Bus, source: Source, known: Applied, extent: Extent) -> Result<bool, Interruption> {
    let is_in_it = known.created == extent.created
        && known.sequence <= extent.last_sequence
        && known.sequence + 1 >= extent.first_sequence;
    if source == Source::Alerts || !is_in_it || known.sequence < extent.first_sequence {
        return Ok(is_in_it);
    }
    // One that was restored from an older copy, and has grown since, has another entry at this place.
    let stored = Reader::new(bus.clone()).get(known.sequence).await;
    match stored {
        Ok(Some(stored)) => Ok(stored.time == known.taken_at),
        // Nothing is there to be compared.
        Ok(None) => Ok(true),
        Err(error) => Err(Interruption::Cut(error)),
    }
}

fn refusal(known: Applied, extent: Extent, path: &Path) -> String {
    let what = if known.created == extent.created && known.sequence + 1 < extent.first_sequence {
        format!(
            "its first entry is {}, and the log has come to entry {}: it has lost entries",
            extent.first_sequence, known.sequence
        )
    } else if known.created == extent.created && known.sequence <= extent.last_sequence {
        format!(
            "it has another entry {} than the one that the log has applied",
            known.sequence
        )
    } else if known.created == extent.created {
        format!(
            "its last entry is {}, and the log has come to entry {}: it has lost entries",
            extent.last_sequence, known.sequence
        )
    } else {
        format!(
            "it was created at {}, and the one that the log is of at {}",
            extent.created, known.created
        )
    };
    format!(
        "{what}. Restore the stream, or, to accept the journal as it is, stop the sidecar, remove {} and start it again",
        path.display()
    )
}

/// Brings what a stream has, and takes, to the writer, from a sequence on; ends when nobody listens. A stream that cannot
/// be followed is looked at again and again.
async fn bring(source: Source, bus: Bus, mut next: u64, items: mpsc::Sender<Item>) {
    let stream = match source {
        Source::Journal => STREAM_REPORTS,
        Source::Alerts => STREAM_ALERTS,
    };
    loop {
        let mut feed = Feed::new(bus.clone(), stream, Start::From(next));
        loop {
            let item = match feed.next().await {
                Ok(Followed::Begun(extent)) => Item::Begun(source, extent),
                Ok(Followed::CaughtUp) => Item::CaughtUp(source),
                Err(error) => Item::Lost(source, error),
                Ok(Followed::Entry(stored)) => {
                    next = stored.sequence + 1;
                    let entry = match source {
                        Source::Journal => read(&stored),
                        Source::Alerts => read_alert(&stored),
                    };
                    Item::Entry(source, entry)
                }
            };
            let is_lost = matches!(item, Item::Lost(..));
            if items.send(item).await.is_err() {
                return;
            }
            if is_lost {
                break;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Runs what waits for the disk where it holds up nobody else.
async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
) -> Result<T, WriteError> {
    match spawn_blocking(job).await {
        Ok(done) => done,
        Err(error) => Err(WriteError::File(
            "the order log's writer".to_owned(),
            std::io::Error::other(error),
        )),
    }
}

impl Shared {
    fn stand(&self, standing: Standing) {
        self.status.send_if_modified(|status| {
            if status.standing == standing {
                return false;
            }
            match &standing {
                Standing::Behind(why) | Standing::Cut(why) => tracing::warn!(why, "the order log is behind"),
                Standing::Refused(why) => tracing::error!(why, "the order log does not follow the journal"),
                Standing::Current => tracing::info!(
                    journal_sequence = status.journal_sequence,
                    "the order log is up to date"
                ),
                _ => {}
            }
            if matches!(standing, Standing::Refused(_)) {
                status.is_whole = false;
            }
            status.standing = standing;
            true
        });
    }

    /// Takes note that everything a stream held has been applied.
    fn holds(&self, source: Source) {
        self.status.send_modify(|status| match source {
            Source::Journal => status.is_whole = true,
            Source::Alerts => status.has_alerts = true,
        });
    }

    /// Takes note that the file is opened, or made anew: what was read of the one before is of no use.
    fn opens(&self) {
        self.supersede();
        self.status.send_modify(|status| {
            (status.is_whole, status.has_alerts) = (false, false);
            if matches!(status.standing, Standing::Current | Standing::CatchingUp) {
                status.standing = Standing::Opening;
            }
        });
    }

    /// Takes note of how far the journal goes.
    fn begins(&self, last_sequence: u64) {
        self.status.send_modify(|status| {
            status.journal_last_sequence = last_sequence;
            if !status.is_whole {
                status.standing = Standing::CatchingUp;
            }
        });
    }

    fn come_to(&self, writer: &Writer) {
        let sequence = writer.applied(Source::Journal).map_or(0, |applied| applied.sequence);
        let skipped = writer.skipped();
        self.status.send_modify(|status| {
            status.skipped = skipped;
            status.journal_sequence = sequence;
            status.journal_last_sequence = status.journal_last_sequence.max(sequence);
        });
    }
}
