//! The writer task and its handle. The task ends when every handle is gone and everything taken has been answered.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{Bus, ServerVersion};
use crate::bus::headers::EXPECTED_LAST_SUBJECT_SEQUENCE;
use crate::bus::journal::append;
use crate::bus::journal::append::{AppendError, JournalEntry};
use crate::bus::journal::watermark::JournalWatermark;
use crate::config::journal::{AppendMode, JournalSettings};

/// Batches on their way at once: while one waits for its acknowledgement the next ones travel.
const MAX_BATCHES_IN_FLIGHT: usize = 4;

/// The description of JetStream's errors 10071 and 10164: the subject has a later entry than the one expected.
const WRONG_LAST_SEQUENCE: &str = "wrong last sequence";

struct QueuedEntry {
    entry: JournalEntry,
    reply: oneshot::Sender<Result<u64, AppendError>>,
}

/// A handle on the journal's writer.
#[derive(Debug, Clone)]
pub struct JournalWriter {
    queue: mpsc::Sender<QueuedEntry>,
    watermark: Arc<JournalWatermark>,
}

/// The writer task itself.
#[derive(Debug)]
pub struct JournalWriterTask(JoinHandle<()>);

impl JournalWriter {
    /// Starts the writer.
    pub fn start(bus: Bus, settings: JournalSettings) -> (Self, JournalWriterTask) {
        let atomic = settings.append == AppendMode::Atomic && bus.server_version() >= ServerVersion::ATOMIC_BATCHES;
        if settings.append == AppendMode::Atomic && !atomic {
            tracing::warn!("this nats-server has no atomic batches (2.12 has): entries are pipelined");
        }
        let (queue, queued) = mpsc::channel(settings.queue_max);
        let watermark = Arc::<JournalWatermark>::default();
        let task = tokio::spawn(run_writer(bus, Arc::new(settings), atomic, watermark.clone(), queued));
        (Self { queue, watermark }, JournalWriterTask(task))
    }

    /// Returns how many entries wait for the writer, and how many may.
    pub fn queue_level(&self) -> (usize, usize) {
        let most = self.queue.max_capacity();
        (most - self.queue.capacity(), most)
    }

    /// Takes note of a sequence that somebody else has seen acknowledged: from here on a new entry that is given one at or
    /// below it shows that the stream has lost entries.
    pub fn observe_sequence(&self, sequence: u64) {
        self.watermark.raise_to(sequence);
    }

    /// Returns the highest sequence that was acknowledged or seen.
    pub fn highest_sequence(&self) -> u64 {
        self.watermark.highest_sequence()
    }

    /// Whether an entry was given a sequence that had been another's. Nothing more is appended for the life of this
    /// process.
    pub fn is_behind(&self) -> bool {
        self.watermark.is_behind()
    }

    /// Appends an entry and returns its sequence once the stream has acknowledged it. A repetition of an entry the
    /// stream still remembers returns the sequence of the first.
    ///
    /// # Errors
    /// Says whether the entry may be on the journal; [`AppendError::Behind`] when the stream has lost entries.
    pub async fn append(&self, entry: JournalEntry) -> Result<u64, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(QueuedEntry { entry, reply: answer })
            .map_err(|error| match error {
                TrySendError::Full(_) => AppendError::QueueFull,
                TrySendError::Closed(_) => AppendError::Refused("the journal's writer has ended".to_owned()),
            })?;
        // The writer bounds the wait: it answers whatever it takes.
        let lost = |_| Err(AppendError::OutcomeUnknown("the journal's writer was lost".to_owned()));
        answered.await.unwrap_or_else(lost)
    }

    /// Appends an entry if `last_sequence` is the sequence of its subject's newest entry, 0 for a subject without one.
    /// Returns the entry's sequence, or `None` if the subject has a later entry.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub async fn append_if_last(
        &self,
        mut entry: JournalEntry,
        last_sequence: u64,
    ) -> Result<Option<u64>, AppendError> {
        let expected = (EXPECTED_LAST_SUBJECT_SEQUENCE.to_owned(), last_sequence.to_string());
        entry.headers.push(expected);
        match self.append(entry).await {
            Ok(sequence) => Ok(Some(sequence)),
            Err(AppendError::Refused(reason)) if reason.contains(WRONG_LAST_SEQUENCE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Appends entries one after the other, each only when the one before it has been acknowledged; returns their
    /// sequences. After an error the entries before it are on the journal, and the ones after it are not.
    ///
    /// # Errors
    /// That of the first entry that was not acknowledged.
    pub async fn append_in_order(&self, entries: Vec<JournalEntry>) -> Result<Vec<u64>, AppendError> {
        let mut sequences = Vec::with_capacity(entries.len());
        for entry in entries {
            sequences.push(self.append(entry).await?);
        }
        Ok(sequences)
    }
}

impl JournalWriterTask {
    /// Waits for the end of the writer: after the last handle is gone and everything taken has been answered.
    pub async fn wait(self) {
        if let Err(error) = self.0.await {
            tracing::error!(%error, "the journal's writer failed");
        }
    }
}

async fn run_writer(
    bus: Bus,
    settings: Arc<JournalSettings>,
    is_atomic: bool,
    watermark: Arc<JournalWatermark>,
    mut queued: mpsc::Receiver<QueuedEntry>,
) {
    let places = Arc::new(Semaphore::new(MAX_BATCHES_IN_FLIGHT));
    let batches = TaskTracker::new();
    // The place comes first: entries that arrive while all are taken make the next batch larger.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let mut taken = Vec::new();
        if queued.recv_many(&mut taken, settings.batch_max).await == 0 {
            break;
        }
        let (bus, settings, watermark) = (bus.clone(), Arc::clone(&settings), Arc::clone(&watermark));
        batches.spawn(async move {
            let (entries, answers): (Vec<_>, Vec<_>) = taken.into_iter().map(|one| (one.entry, one.reply)).unzip();
            let results = append::append_batch(&bus, &settings, is_atomic, &watermark, &entries).await;
            for (answer, result) in answers.into_iter().zip(results) {
                // Whoever asked may have gone; the entry stands all the same.
                let _ = answer.send(result);
            }
            drop(place);
        });
    }
    batches.close();
    batches.wait().await;
}
