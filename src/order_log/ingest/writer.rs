//! The writer: a batch of entries is one transaction, which also stores the watermarks of the streams.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use crate::order_log::database::file::{OrderLogWriteError, acquire_file_lock, remove_files, wal_path};
use crate::order_log::database::schema::{open_read_write, requires_rebuild};
use crate::order_log::index::OrderLogIndex;
use crate::order_log::index::load::load_index;
use crate::order_log::ingest::entry::StreamEntry;
use crate::order_log::ingest::position_ledger::PositionLedger;
use crate::order_log::ingest::projection::Projection;
use crate::order_log::shared::OrderLogShared;
use crate::order_log::tables::tags::TagStore;
use crate::order_log::tables::watermarks::{LogStream, StreamWatermark};
use crate::order_log::tables::{alerts, skipped, watermarks};

/// The size of the write-ahead log from which on it is truncated, also while reads wait.
const MAX_WAL_BYTES: u64 = 64 * 1_024 * 1_024;
/// How many entries are applied between two checkpoints.
const CHECKPOINT_INTERVAL_ENTRIES: usize = 4_096;

/// The file, open for writing and locked against other processes.
#[derive(Debug)]
pub(in crate::order_log) struct OrderLogWriter {
    connection: Connection,
    tags: TagStore,
    positions: PositionLedger,
    journal_watermark: Option<StreamWatermark>,
    alerts_watermark: Option<StreamWatermark>,
    /// Distinguishes the open file from another one that was put in its place.
    inode: u64,
    path: PathBuf,
    entries_since_checkpoint: usize,
    skipped_entries: u64,
    _lock: File,
}

impl OrderLogWriter {
    /// Opens the file and loads the index. A file that cannot be used, or has another schema version, is rebuilt.
    ///
    /// # Errors
    /// When the file cannot be locked, opened or removed; the caller retries later.
    pub(in crate::order_log) fn open(path: &Path, shared: &OrderLogShared) -> Result<Self, OrderLogWriteError> {
        let lock = acquire_file_lock(path)?;
        let (mut connection, mut index) = match open_and_load(path) {
            Err(error) if requires_rebuild(&error) => {
                tracing::error!(
                    %error,
                    path = %path.display(),
                    "the order log's file cannot be used and is rebuilt from the journal"
                );
                remove_files(path)?;
                open_and_load(path)?
            }
            opened => opened?,
        };
        if skipped::exist_of_other_version(&connection)? {
            tracing::warn!(
                "another version of the program has skipped entries: the order log is rebuilt from the journal"
            );
            drop(connection);
            remove_files(path)?;
            (connection, index) = open_and_load(path)?;
        }
        let journal_watermark = watermarks::load(&connection, LogStream::Journal)?;
        let alerts_watermark = watermarks::load(&connection, LogStream::Alerts)?;
        let metadata = std::fs::metadata(path).map_err(|error| OrderLogWriteError::from_io_error(path, error))?;
        shared.replace_index(index);
        let skipped_entries = skipped::count(&connection)?;
        Ok(Self {
            connection,
            tags: TagStore::default(),
            positions: PositionLedger::default(),
            journal_watermark,
            alerts_watermark,
            inode: metadata.ino(),
            path: path.to_owned(),
            entries_since_checkpoint: 0,
            skipped_entries,
            _lock: lock,
        })
    }

    /// Returns how far a stream is applied; `None` before anything of it is.
    pub(in crate::order_log) fn watermark(&self, stream: LogStream) -> Option<StreamWatermark> {
        match stream {
            LogStream::Journal => self.journal_watermark,
            LogStream::Alerts => self.alerts_watermark,
        }
    }

    /// Returns whether the open file is still the one at its path.
    pub(in crate::order_log) fn is_file_in_place(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
    }

    /// Records where a stream starts: a new one, or an alert stream that was recreated.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn start_stream(
        &mut self,
        stream: LogStream,
        start: StreamWatermark,
    ) -> Result<(), OrderLogWriteError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if stream == LogStream::Alerts {
            alerts::delete_all(&transaction)?;
        }
        watermarks::save(&transaction, stream, start)?;
        transaction.commit()?;
        match stream {
            LogStream::Journal => self.journal_watermark = Some(start),
            LogStream::Alerts => self.alerts_watermark = Some(start),
        }
        Ok(())
    }

    /// Applies entries: all of them, or none.
    ///
    /// # Errors
    /// Any error of SQLite; nothing has changed then.
    pub(in crate::order_log) fn apply_batch(
        &mut self,
        shared: &OrderLogShared,
        entries: &[(LogStream, StreamEntry)],
    ) -> Result<(), OrderLogWriteError> {
        let applied = self.apply_in_transaction(shared, entries);
        if applied.is_err() {
            self.tags.clear_cache();
            self.positions.clear_cache();
        }
        applied?;
        self.entries_since_checkpoint += entries.len();
        if self.entries_since_checkpoint >= CHECKPOINT_INTERVAL_ENTRIES {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Applies entries in one transaction: rows, tags, positions, gaps and watermarks. The commit and the changes of the index
    /// are one step for readers.
    fn apply_in_transaction(
        &mut self,
        shared: &OrderLogShared,
        entries: &[(LogStream, StreamEntry)],
    ) -> Result<(), OrderLogWriteError> {
        let (order_count, execution_count) = shared.row_counts();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut projection = Projection {
            connection: &transaction,
            tags: &mut self.tags,
            positions: &mut self.positions,
            order_count,
            execution_count,
            index_changes: Vec::new(),
            has_skipped_entries: false,
        };
        let (mut journal, mut alerts) = (self.journal_watermark, self.alerts_watermark);
        for (stream, entry) in entries {
            let watermark = match stream {
                LogStream::Journal => journal.as_mut(),
                LogStream::Alerts => alerts.as_mut(),
            };
            // The start of a stream is recorded before its entries; an applied entry may be redelivered.
            let Some(watermark) = watermark.filter(|watermark| watermark.sequence < entry.sequence) else {
                continue;
            };
            if *stream == LogStream::Journal && entry.sequence > watermark.sequence + 1 {
                let reason = format!("the journal has no entries from {} up to here", watermark.sequence + 1);
                projection.record_skipped(entry.sequence - 1, &reason)?;
            }
            (watermark.sequence, watermark.stored_at) = (entry.sequence, entry.stored_at);
            match stream {
                LogStream::Journal => projection.apply(entry)?,
                LogStream::Alerts => alerts::apply_entry(&transaction, entry)?,
            }
        }
        let (index_changes, has_skipped_entries) = (projection.index_changes, projection.has_skipped_entries);
        self.tags.flush(&transaction)?;
        self.positions.flush(&transaction)?;
        for (stream, watermark) in [(LogStream::Journal, journal), (LogStream::Alerts, alerts)] {
            if let Some(watermark) = watermark {
                watermarks::save(&transaction, stream, watermark)?;
            }
        }
        shared.commit_with_index(index_changes, || transaction.commit())?;
        (self.journal_watermark, self.alerts_watermark) = (journal, alerts);
        if has_skipped_entries {
            self.skipped_entries = skipped::count(&self.connection)?;
        }
        Ok(())
    }

    /// Removes the alerts that the stream has dropped.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn delete_alerts_before(&mut self, first_sequence: u64) -> Result<(), OrderLogWriteError> {
        Ok(alerts::delete_before(&self.connection, first_sequence)?)
    }

    /// Returns how many entries of the journal were skipped.
    pub(in crate::order_log) fn skipped_entries(&self) -> u64 {
        self.skipped_entries
    }

    /// Returns whether the write-ahead log is too long: reads have kept checkpoints from restarting it.
    pub(in crate::order_log) fn is_wal_too_long(&self) -> bool {
        std::fs::metadata(wal_path(&self.path)).is_ok_and(|metadata| metadata.len() > MAX_WAL_BYTES)
    }

    /// Copies all pages to the main file and truncates the write-ahead log; no read may run.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn truncate_wal(&mut self) -> Result<(), OrderLogWriteError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.entries_since_checkpoint = 0;
        Ok(())
    }

    /// Copies pages from the write-ahead log to the main file, if entries were applied since the last time.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn checkpoint(&mut self) -> Result<(), OrderLogWriteError> {
        if std::mem::take(&mut self.entries_since_checkpoint) > 0 {
            // Pages that a read still needs are copied by a later checkpoint.
            self.connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }
}

fn open_and_load(path: &Path) -> rusqlite::Result<(Connection, OrderLogIndex)> {
    let connection = open_read_write(path)?;
    let index = load_index(&connection)?;
    Ok((connection, index))
}
