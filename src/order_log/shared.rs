//! What the writer and the readers share: the index, the pool of reading connections, and the status.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{Semaphore, watch};

use crate::order_log::database::schema;
use crate::order_log::index::{IndexChange, OrderLogIndex};
use crate::order_log::status::{OrderLogStatus, SyncState};
use crate::order_log::tables::watermarks::LogStream;

/// The most reads that run at a time; others wait.
pub(in crate::order_log) const MAX_CONCURRENT_READS: usize = 4;
/// The most reads that wait or run.
const MAX_QUEUED_READS: usize = 1_024;

/// What the writer and the readers share.
#[derive(Debug)]
pub(in crate::order_log) struct OrderLogShared {
    /// The path of the file.
    pub(in crate::order_log) path: PathBuf,
    index: RwLock<OrderLogIndex>,
    pool: Mutex<ReaderPool>,
    /// One permit per read that runs.
    pub(in crate::order_log) read_permits: Arc<Semaphore>,
    /// One permit per read that waits or runs.
    pub(in crate::order_log) queue_permits: Arc<Semaphore>,
    /// The status of the log.
    pub(in crate::order_log) status: watch::Sender<OrderLogStatus>,
    /// The lowest journal sequence that a read must reflect: the highest that this sidecar has returned to a client.
    read_floor: AtomicU64,
    /// Whether a reader has found the file corrupt: it must be rebuilt.
    is_corrupt: AtomicBool,
}

/// Idle reading connections, all of the current file.
#[derive(Debug, Default)]
struct ReaderPool {
    /// Counts the files that were opened at the path.
    generation: u64,
    idle: Vec<Connection>,
}

impl OrderLogShared {
    /// Returns the shared part of a log that is not open yet.
    pub(in crate::order_log) fn new(path: PathBuf) -> Self {
        Self {
            path,
            index: RwLock::default(),
            pool: Mutex::default(),
            read_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_READS)),
            queue_permits: Arc::new(Semaphore::new(MAX_QUEUED_READS)),
            status: watch::Sender::new(OrderLogStatus::default()),
            read_floor: AtomicU64::new(0),
            is_corrupt: AtomicBool::new(false),
        }
    }

    /// Returns the lowest journal sequence that a read must reflect.
    pub(in crate::order_log) fn read_floor(&self) -> u64 {
        self.read_floor.load(Ordering::Acquire)
    }

    /// Raises the lowest journal sequence that a read must reflect; it never falls.
    pub(in crate::order_log) fn raise_read_floor(&self, sequence: u64) {
        self.read_floor.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Returns whether a reader has found the file corrupt since the last call.
    pub(in crate::order_log) fn take_corruption(&self) -> bool {
        self.is_corrupt.swap(false, Ordering::AcqRel)
    }

    /// Selects rows by the index and the file, and loads them, all from one state of both.
    ///
    /// # Errors
    /// Any error of SQLite; `SQLITE_BUSY` when the file was replaced during the read.
    pub(in crate::order_log) fn read_snapshot<C, T>(
        &self,
        interrupt: &ReadInterrupt,
        select_rows: impl FnOnce(&OrderLogIndex, &Connection) -> rusqlite::Result<C>,
        load_rows: impl FnOnce(C, &Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let (generation, connection) = self.take_connection()?;
        interrupt.arm(&connection);
        let read = (|| {
            let transaction = connection.unchecked_transaction()?;
            let selected = {
                let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
                if self.generation() != generation {
                    return Err(file_replaced_error());
                }
                // The first query fixes what the transaction sees. No commit runs while the index is locked.
                transaction.query_row("SELECT count(*) FROM watermarks", [], |_| Ok(()))?;
                select_rows(&index, &transaction)?
            };
            load_rows(selected, &transaction)
        })();
        interrupt.disarm();
        if read.as_ref().is_err_and(schema::is_corrupt) && self.generation() == generation {
            self.is_corrupt.store(true, Ordering::Release);
        }
        if read.is_ok() {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.generation == generation && pool.idle.len() < MAX_CONCURRENT_READS {
                pool.idle.push(connection);
            }
        }
        read
    }

    fn generation(&self) -> u64 {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).generation
    }

    fn take_connection(&self) -> rusqlite::Result<(u64, Connection)> {
        let (generation, idle) = {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            (pool.generation, pool.idle.pop())
        };
        let connection = idle.map_or_else(|| schema::open_read_only(&self.path), Ok)?;
        Ok((generation, connection))
    }

    /// Returns how many orders and how many executions the log has.
    pub(in crate::order_log) fn row_counts(&self) -> (u32, u32) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        (index.orders.len(), index.executions.len())
    }

    /// Returns whether the log has an order at a broker.
    pub(in crate::order_log) fn has_broker(&self, broker: &str) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.orders.of_broker(broker).is_some()
    }

    /// Commits and changes the index, both while no read selects rows.
    ///
    /// # Errors
    /// The error of the commit; the index is unchanged then.
    pub(in crate::order_log) fn commit_with_index(
        &self,
        changes: Vec<IndexChange>,
        commit: impl FnOnce() -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        commit()?;
        changes.into_iter().for_each(|change| index.apply(change));
        Ok(())
    }

    /// Replaces the index by that of a file that was opened.
    pub(in crate::order_log) fn replace_index(&self, index: OrderLogIndex) {
        let mut current = self.index.write().unwrap_or_else(PoisonError::into_inner);
        self.discard_connections();
        self.is_corrupt.store(false, Ordering::Release);
        *current = index;
    }

    /// Discards the idle connections and those in use: they belong to an earlier file.
    fn discard_connections(&self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.generation += 1;
        pool.idle.clear();
    }
}

impl OrderLogShared {
    /// Sets the synchronization state, and logs a change.
    pub(in crate::order_log) fn set_sync_state(&self, state: SyncState) {
        self.status.send_if_modified(|status| {
            if status.sync_state == state {
                return false;
            }
            match &state {
                SyncState::WriteFailed(reason) | SyncState::StreamUnavailable(reason) => {
                    tracing::warn!(reason, "the order log is behind")
                }
                SyncState::JournalMismatch(reason) => {
                    tracing::error!(
                        reason,
                        "the order log does not match the journal and has stopped following it"
                    )
                }
                SyncState::Current => tracing::info!(
                    journal_sequence = status.journal_sequence,
                    "the order log is up to date"
                ),
                _ => {}
            }
            if matches!(state, SyncState::JournalMismatch(_)) {
                status.is_complete = false;
            }
            status.sync_state = state;
            true
        });
    }

    /// Records that every entry a stream held is applied.
    pub(in crate::order_log) fn mark_caught_up(&self, stream: LogStream) {
        self.status.send_modify(|status| match stream {
            LogStream::Journal => status.is_complete = true,
            LogStream::Alerts => status.has_all_alerts = true,
        });
    }

    /// Resets the status before a file is opened: what was read from the file before no longer counts.
    pub(in crate::order_log) fn reset_status(&self) {
        self.discard_connections();
        self.status.send_modify(|status| {
            (status.is_complete, status.has_all_alerts) = (false, false);
            if matches!(status.sync_state, SyncState::Current | SyncState::CatchingUp) {
                status.sync_state = SyncState::Opening;
            }
        });
    }

    /// Records the last sequence of the journal.
    pub(in crate::order_log) fn set_journal_end(&self, last_sequence: u64) {
        self.status.send_modify(|status| {
            status.journal_last_sequence = last_sequence;
            if !status.is_complete {
                status.sync_state = SyncState::CatchingUp;
            }
        });
    }

    /// Publishes the last journal sequence that is applied, and how many entries were skipped.
    pub(in crate::order_log) fn publish_progress(&self, journal_sequence: u64, skipped_entries: u64) {
        self.status.send_modify(|status| {
            status.skipped_entries = skipped_entries;
            status.journal_sequence = journal_sequence;
            status.journal_last_sequence = status.journal_last_sequence.max(journal_sequence);
        });
    }
}

/// Interrupts a read that is in flight.
#[derive(Clone, Default)]
pub(in crate::order_log) struct ReadInterrupt(Arc<Mutex<Option<InterruptHandle>>>);

impl ReadInterrupt {
    fn arm(&self, connection: &Connection) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.get_interrupt_handle());
    }

    fn disarm(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Interrupts the read, if it is in flight.
    pub(in crate::order_log) fn interrupt(&self) {
        if let Some(handle) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}

fn file_replaced_error() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    let text = "the file was replaced during the read".to_owned();
    rusqlite::Error::SqliteFailure(code, Some(text))
}
