//! The one who writes the file: a batch of entries is one transaction, with the sequences it brings the log to.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::domain::time::Timestamp;
use crate::order_log::OrderLogShared;
use crate::order_log::database::schema::{open_read_write, requires_rebuild};
use crate::order_log::index::load;
use crate::order_log::index::{IndexChange, OrderLogIndex};
use crate::order_log::ingest::entry::StreamEntry;
use crate::order_log::ingest::projection::{PROGRAM_VERSION, Projection};
use crate::order_log::tables::alerts;
use crate::order_log::tables::positions::PositionLedger;
use crate::order_log::tables::tags::TagStore;

/// From which size on the write-ahead file is emptied while readers wait.
const MAX_WAL_BYTES: u64 = 64 * 1_024 * 1_024;
/// After how many entries pages are brought from the write-ahead file to the main one.
const CHECKPOINT_INTERVAL_ENTRIES: usize = 4_096;

/// The streams that the log follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::order_log) enum LogStream {
    /// Orders, notes, adjustments and what operators set.
    Journal,
    /// What the risk rules say.
    Alerts,
}

impl LogStream {
    pub(in crate::order_log) fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Alerts => "alerts",
        }
    }
}

/// How far a stream is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::order_log) struct StreamWatermark {
    /// When the stream was created.
    pub(in crate::order_log) stream_created_at: Timestamp,
    /// The sequence of the last entry that is applied; 0 before the first.
    pub(in crate::order_log) sequence: u64,
    /// When the stream took that entry: another one at its place is of another stream.
    pub(in crate::order_log) stored_at: Timestamp,
}

/// Why the log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OrderLogWriteError {
    /// What SQLite says.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// What the file system says.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// Another process has it.
    #[error("another process has {0}; give each sidecar a data directory of its own (data_dir)")]
    InUse(String),
}

impl OrderLogWriteError {
    fn from_io_error(path: &Path, error: std::io::Error) -> Self {
        Self::File(path.display().to_string(), error)
    }
}

/// The file, opened for writing, and locked against other processes.
#[derive(Debug)]
pub(in crate::order_log) struct OrderLogWriter {
    connection: Connection,
    labels: TagStore,
    positions: PositionLedger,
    journal_watermark: Option<StreamWatermark>,
    alerts_watermark: Option<StreamWatermark>,
    /// Tells the file we have from another one that has come to stand in its place.
    inode: u64,
    path: PathBuf,
    entries_since_checkpoint: usize,
    skipped_entries: u64,
    _lock: File,
}

impl OrderLogWriter {
    /// Opens the file and reads the index from it. A file that cannot be used is made anew.
    ///
    /// # Errors
    /// When it cannot be had: it is worth another try later.
    pub(in crate::order_log) fn open(path: &Path, shared: &OrderLogShared) -> Result<Self, OrderLogWriteError> {
        let lock = acquire_file_lock(path)?;
        let (connection, index) = match open_and_load(path) {
            Err(error) if requires_rebuild(&error) => {
                tracing::error!(%error, path = %path.display(), "the order log's file cannot be used: it is made anew from the journal");
                remove_files(path)?;
                open_and_load(path)?
            }
            opened => opened?,
        };
        if was_skipped_by_other_version(&connection)? {
            tracing::warn!("another version of the program has left entries out of the order log: it is made anew");
            drop(connection);
            remove_files(path)?;
            drop(lock);
            return Self::open(path, shared);
        }
        let applied = |source| load_watermark(&connection, source);
        let (journal, alerts) = (applied(LogStream::Journal)?, applied(LogStream::Alerts)?);
        let metadata = std::fs::metadata(path).map_err(|error| OrderLogWriteError::from_io_error(path, error))?;
        shared.replace_index(index);
        let skipped = count_skipped(&connection)?;
        Ok(Self {
            connection,
            skipped_entries: skipped,
            labels: TagStore::default(),
            positions: PositionLedger::default(),
            journal_watermark: journal,
            alerts_watermark: alerts,
            inode: metadata.ino(),
            path: path.to_owned(),
            entries_since_checkpoint: 0,
            _lock: lock,
        })
    }

    /// Returns how far a stream is applied; `None` before anything of it.
    pub(in crate::order_log) fn watermark(&self, source: LogStream) -> Option<StreamWatermark> {
        match source {
            LogStream::Journal => self.journal_watermark,
            LogStream::Alerts => self.alerts_watermark,
        }
    }

    /// Whether the file that was opened still stands at its path.
    pub(in crate::order_log) fn is_file_in_place(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
    }

    /// Takes note that a stream begins here, or begins anew.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn start_stream(
        &mut self,
        source: LogStream,
        at: StreamWatermark,
    ) -> Result<(), OrderLogWriteError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if source == LogStream::Alerts {
            alerts::delete_all(&transaction)?;
        }
        save_watermark(&transaction, source, at)?;
        transaction.commit()?;
        self.set_watermark(source, at);
        Ok(())
    }

    /// Applies entries: all of them, or none.
    ///
    /// # Errors
    /// What the file says; nothing has changed then.
    pub(in crate::order_log) fn apply_batch(
        &mut self,
        shared: &OrderLogShared,
        entries: &[(LogStream, StreamEntry)],
    ) -> Result<(), OrderLogWriteError> {
        let applied = self.apply_in_transaction(shared, entries);
        if applied.is_err() {
            self.labels.clear_cache();
            self.positions.clear_cache();
        }
        applied?;
        self.entries_since_checkpoint += entries.len();
        if self.entries_since_checkpoint >= CHECKPOINT_INTERVAL_ENTRIES {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn apply_in_transaction(
        &mut self,
        shared: &OrderLogShared,
        entries: &[(LogStream, StreamEntry)],
    ) -> Result<(), OrderLogWriteError> {
        let (orders, executions) = shared.row_counts();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut projection = Projection {
            connection: &transaction,
            labels: &mut self.labels,
            positions: &mut self.positions,
            order_count: orders,
            execution_count: executions,
            index_changes: Vec::new(),
            has_skipped_entries: false,
        };
        let (mut journal, mut alerts) = (self.journal_watermark, self.alerts_watermark);
        for (source, entry) in entries {
            let applied = match source {
                LogStream::Journal => journal.as_mut(),
                LogStream::Alerts => alerts.as_mut(),
            };
            // Entries come after the word that their stream begins; what is applied already may come again.
            let Some(applied) = applied.filter(|applied| applied.sequence < entry.sequence) else {
                continue;
            };
            if *source == LogStream::Journal && entry.sequence > applied.sequence + 1 {
                let why = format!("the journal has nothing from {} on until here", applied.sequence + 1);
                projection.record_skipped(entry.sequence - 1, &why)?;
            }
            (applied.sequence, applied.stored_at) = (entry.sequence, entry.stored_at);
            match source {
                LogStream::Journal => projection.apply(entry)?,
                LogStream::Alerts => alerts::apply_entry(&transaction, entry)?,
            }
        }
        let (changes, has_skipped): (Vec<IndexChange>, bool) =
            (projection.index_changes, projection.has_skipped_entries);
        self.labels.flush(&transaction)?;
        self.positions.flush(&transaction)?;
        for (source, applied) in [(LogStream::Journal, journal), (LogStream::Alerts, alerts)] {
            if let Some(applied) = applied {
                save_watermark(&transaction, source, applied)?;
            }
        }
        // Whoever reads sees index and file at the same moment.
        shared.commit_with_index(changes, || transaction.commit())?;
        (self.journal_watermark, self.alerts_watermark) = (journal, alerts);
        if has_skipped {
            self.skipped_entries = count_skipped(&self.connection)?;
        }
        Ok(())
    }

    /// Removes alerts that their stream has dropped.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn delete_alerts_before(&mut self, first_sequence: u64) -> Result<(), OrderLogWriteError> {
        Ok(alerts::delete_before(&self.connection, first_sequence)?)
    }

    /// Returns how many entries of the journal were left out.
    pub(in crate::order_log) fn skipped_entries(&self) -> u64 {
        self.skipped_entries
    }

    /// Whether the write-ahead file has grown beyond what is good: readers have kept it from beginning again.
    pub(in crate::order_log) fn is_wal_too_long(&self) -> bool {
        std::fs::metadata(sibling_path(&self.path, "-wal")).is_ok_and(|metadata| metadata.len() > MAX_WAL_BYTES)
    }

    /// Brings all pages to the main file and empties the write-ahead file; nobody may be reading.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn truncate_wal(&mut self) -> Result<(), OrderLogWriteError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.entries_since_checkpoint = 0;
        Ok(())
    }

    /// Brings pages from the write-ahead file to the main one.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn checkpoint(&mut self) -> Result<(), OrderLogWriteError> {
        if std::mem::take(&mut self.entries_since_checkpoint) > 0 {
            // Where a reader still needs the old pages, the next time brings them.
            self.connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    fn set_watermark(&mut self, source: LogStream, at: StreamWatermark) {
        match source {
            LogStream::Journal => self.journal_watermark = Some(at),
            LogStream::Alerts => self.alerts_watermark = Some(at),
        }
    }
}

fn open_and_load(path: &Path) -> rusqlite::Result<(Connection, OrderLogIndex)> {
    let connection = open_read_write(path)?;
    let index = load::load_index(&connection)?;
    Ok((connection, index))
}

/// Takes the lock that keeps other processes from the file.
fn acquire_file_lock(path: &Path) -> Result<File, OrderLogWriteError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(|error| OrderLogWriteError::from_io_error(directory, error))?;
    let lock_path = path.with_extension("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path);
    let lock = lock.map_err(|error| OrderLogWriteError::from_io_error(&lock_path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OrderLogWriteError::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(OrderLogWriteError::from_io_error(&lock_path, error)),
    }
}

/// Removes a file that nobody uses.
///
/// # Errors
/// When another process has it, or the file system refuses.
pub(in crate::order_log) fn remove_unused(path: &Path) -> Result<(), OrderLogWriteError> {
    let _lock = acquire_file_lock(path)?;
    remove_files(path)
}

/// Returns the file that SQLite keeps beside another one, by what it adds to its name.
fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes the file and what SQLite keeps beside it.
///
/// # Errors
/// What the file system says.
pub(in crate::order_log) fn remove_files(path: &Path) -> Result<(), OrderLogWriteError> {
    for suffix in ["", "-wal", "-shm"] {
        let path = sibling_path(path, suffix);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OrderLogWriteError::from_io_error(&path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn count_skipped(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM skipped", [], |row| row.get(0))
}

/// Whether entries were left out that this version may be able to read.
fn was_skipped_by_other_version(connection: &Connection) -> rusqlite::Result<bool> {
    let others = "SELECT 1 FROM skipped WHERE version <> ?1 LIMIT 1";
    connection.prepare(others)?.exists([PROGRAM_VERSION])
}

fn load_watermark(connection: &Connection, source: LogStream) -> rusqlite::Result<Option<StreamWatermark>> {
    let find = "SELECT created, sequence, taken_at FROM progress WHERE stream = ?1";
    let applied = connection.query_row(find, [source.name()], |row| {
        Ok(StreamWatermark {
            stream_created_at: Timestamp::from_microseconds(row.get(0)?),
            sequence: row.get(1)?,
            stored_at: Timestamp::from_microseconds(row.get(2)?),
        })
    });
    applied.optional()
}

fn save_watermark(connection: &Connection, source: LogStream, at: StreamWatermark) -> rusqlite::Result<()> {
    let write = "INSERT OR REPLACE INTO progress (stream, created, sequence, taken_at) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare_cached(write)?;
    let (created, taken_at) = (at.stream_created_at.as_microseconds(), at.stored_at.as_microseconds());
    statement.execute(params![source.name(), created, at.sequence, taken_at])?;
    Ok(())
}
