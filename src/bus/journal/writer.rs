//! The writer task and its handle. The task ends when every handle is dropped and every accepted entry has its result.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{Bus, ServerVersion};
use crate::bus::headers::EXPECTED_LAST_SUBJECT_SEQUENCE;
use crate::bus::journal::append;
use crate::bus::journal::entry::{AppendError, JournalEntry};
use crate::bus::journal::watermark::JournalWatermark;
use crate::config::journal::{AppendMode, JournalSettings};

/// The maximum number of batches in flight: while one waits for its acknowledgement, the next ones are sent.
const MAX_BATCHES_IN_FLIGHT: usize = 4;

/// The description of JetStream's errors 10071 and 10164: the subject has a later entry than the one expected.
const WRONG_LAST_SEQUENCE: &str = "wrong last sequence";

/// An entry in the writer's queue.
struct QueuedEntry {
    entry: JournalEntry,
    reply: oneshot::Sender<Result<u64, AppendError>>,
}

/// A handle to the journal writer; clones share it.
#[derive(Debug, Clone)]
pub struct JournalWriter {
    queue: mpsc::Sender<QueuedEntry>,
    watermark: Arc<JournalWatermark>,
}

/// The writer task.
#[derive(Debug)]
pub struct JournalWriterTask(JoinHandle<()>);

impl JournalWriter {
    /// Starts the writer.
    pub fn start(bus: Bus, settings: JournalSettings) -> (Self, JournalWriterTask) {
        let is_atomic = settings.append == AppendMode::Atomic && bus.server_version() >= ServerVersion::ATOMIC_BATCHES;
        if settings.append == AppendMode::Atomic && !is_atomic {
            tracing::warn!("this nats-server lacks atomic batches (2.12 has them): entries are pipelined");
        }
        let (queue, queued) = mpsc::channel(settings.queue_max);
        let watermark = Arc::<JournalWatermark>::default();
        let task = tokio::spawn(run_writer(
            bus,
            Arc::new(settings),
            is_atomic,
            watermark.clone(),
            queued,
        ));
        (Self { queue, watermark }, JournalWriterTask(task))
    }

    /// Returns the number of queued entries and the queue's capacity.
    pub fn queue_level(&self) -> (usize, usize) {
        let capacity = self.queue.max_capacity();
        (capacity - self.queue.capacity(), capacity)
    }

    /// Raises the watermark to a sequence that another process or an earlier run saw acknowledged. From then on a new entry
    /// that is assigned a sequence at or below it proves that the stream has lost entries.
    pub fn observe_sequence(&self, sequence: u64) {
        self.watermark.raise_to(sequence);
    }

    /// Returns the highest sequence that was acknowledged or observed.
    pub fn highest_sequence(&self) -> u64 {
        self.watermark.highest_sequence()
    }

    /// Reports whether an entry was assigned the sequence of an acknowledged one. Nothing more is appended for the life of
    /// this process.
    pub fn is_behind(&self) -> bool {
        self.watermark.is_behind()
    }

    /// Appends an entry and returns its sequence once the stream has acknowledged it. A repeated append, within the
    /// stream's duplicate window, returns the sequence of the first.
    ///
    /// # Errors
    /// The error says whether the entry may be on the journal; [`AppendError::Behind`] when the stream has lost entries.
    pub async fn append(&self, entry: JournalEntry) -> Result<u64, AppendError> {
        let (reply, result) = oneshot::channel();
        self.queue
            .try_send(QueuedEntry { entry, reply })
            .map_err(|error| match error {
                TrySendError::Full(_) => AppendError::QueueFull,
                TrySendError::Closed(_) => AppendError::Refused("the journal writer has ended".to_owned()),
            })?;
        // The writer bounds the wait: every accepted entry gets a result.
        let lost = |_| Err(AppendError::OutcomeUnknown("the journal writer failed".to_owned()));
        result.await.unwrap_or_else(lost)
    }

    /// Appends an entry if `last_sequence` is the sequence of its subject's newest entry, 0 for a subject without one.
    /// Returns the entry's sequence, or `None` if the subject has a later entry. The newest entry may be archived.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub async fn append_if_last(&self, entry: JournalEntry, last_sequence: u64) -> Result<Option<u64>, AppendError> {
        match self.append_if_newest_stored(entry.clone(), last_sequence).await? {
            // For the server, a subject has no entry whose entries are all archived. A later one would not be.
            None if last_sequence > 0 => self.append_if_newest_stored(entry, 0).await,
            appended => Ok(appended),
        }
    }

    /// Appends an entry if `last_sequence` is the sequence of its subject's newest entry in the stream, 0 for none.
    async fn append_if_newest_stored(
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

    /// Appends entries one after the other, each after the acknowledgement of the previous one. Returns their sequences.
    /// After an error the entries before the failed one are on the journal, and the ones after it are not.
    ///
    /// # Errors
    /// The error of the first entry that was not acknowledged.
    pub async fn append_in_order(&self, entries: Vec<JournalEntry>) -> Result<Vec<u64>, AppendError> {
        let mut sequences = Vec::with_capacity(entries.len());
        for entry in entries {
            sequences.push(self.append(entry).await?);
        }
        Ok(sequences)
    }
}

impl JournalWriterTask {
    /// Waits for the end of the writer, which follows the drop of the last handle and the result of every accepted entry.
    pub async fn wait(self) {
        if let Err(error) = self.0.await {
            tracing::error!(%error, "the task of the journal writer failed");
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
    let permits = Arc::new(Semaphore::new(MAX_BATCHES_IN_FLIGHT));
    let batches = TaskTracker::new();
    // The permit is acquired first: entries that arrive while every permit is taken enlarge the next batch.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let mut batch = Vec::new();
        if queued.recv_many(&mut batch, settings.batch_max).await == 0 {
            break;
        }
        let (bus, settings, watermark) = (bus.clone(), Arc::clone(&settings), Arc::clone(&watermark));
        batches.spawn(async move {
            let (entries, replies): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|queued| (queued.entry, queued.reply)).unzip();
            let results = append::append_batch(&bus, &settings, is_atomic, &watermark, &entries).await;
            for (reply, result) in replies.into_iter().zip(results) {
                // The caller may no longer wait; the entry is stored all the same.
                let _ = reply.send(result);
            }
            drop(permit);
        });
    }
    batches.close();
    batches.wait().await;
}
