//! The file: its tables, how a connection is opened, and what is done with a file of another version.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How long a statement waits for a lock that another program holds on the file.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// The most prepared statements a connection keeps.
const MAX_CACHED_STATEMENTS: usize = 64;
/// Memory for pages of the writing connection, in KiB.
const WRITER_CACHE_KIB: i64 = 64 * 1_024;
/// How large the write-ahead file stays once its pages are in the main one.
const WAL_SIZE_LIMIT_BYTES: i64 = 16 * 1_024 * 1_024;
/// Memory for pages of a reading connection, in KiB.
const READER_CACHE_KIB: i64 = 8 * 1_024;

/// Each step brings a file from the version before to its own, which is its place in this list, from 1.
///
/// A step that changes what entries of the journal become must drop all tables and make them anew: the log then rebuilds
/// itself.
///
/// | table | holds |
/// |---|---|
/// | `progress` | per stream: when it was created (µs), the last sequence that is applied, and when the stream took that |
/// | `skipped` | entries of the journal that were missing, or that this version of the program could not read |
/// | `orders` | every order, by its place among the orders, from 0; `id` is the sequence of its first event; times in µs since 1970, numbers as exact texts, `tags` and `reason` as JSON; `released` is 1 while it is known only by a submission that was taken back, `claim` that of its last submission |
/// | `executions` | every fill, by its place among the fills, from 0; `id` is the sequence of its event × 4096 + its index there |
/// | `labels`, `label_orders` | each tag in lower case, how many orders have it, and which |
/// | `notes` | which notes are in `orders` already |
/// | `positions` | per mode, account, venue and symbol: a book of what is held and what it cost, as whole numbers in texts; `is_whole` is 0 once something could not be counted exactly |
/// | `adjustments` | which adjustments are in `positions` already |
/// | `state` | what operators have set last |
/// | `alerts` | the stream of alerts, body by body |
const MIGRATIONS: &[&str] = &["
CREATE TABLE progress (
    stream TEXT PRIMARY KEY, created INTEGER NOT NULL, sequence INTEGER NOT NULL, taken_at INTEGER NOT NULL
) STRICT;
CREATE TABLE skipped (sequence INTEGER PRIMARY KEY, version TEXT NOT NULL, why TEXT NOT NULL) STRICT;
CREATE TABLE orders (
    ordinal INTEGER PRIMARY KEY, id INTEGER NOT NULL, external_order_id TEXT NOT NULL, correlation_id TEXT NOT NULL,
    account_id TEXT NOT NULL, broker TEXT NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    order_type TEXT NOT NULL, time_in_force TEXT NOT NULL, limit_price TEXT, quantity TEXT NOT NULL,
    filled_quantity TEXT NOT NULL, status TEXT NOT NULL, released INTEGER NOT NULL, claim TEXT, submitted_at INTEGER NOT NULL,
    expires_at INTEGER, reported_at INTEGER NOT NULL, noted_at INTEGER, created_at INTEGER NOT NULL, notes TEXT,
    tags TEXT NOT NULL, mode TEXT NOT NULL, reason TEXT, version INTEGER NOT NULL, fills_total INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX orders_by_external_id ON orders (external_order_id);
CREATE INDEX orders_by_correlation ON orders (correlation_id, account_id);
CREATE TABLE executions (
    ordinal INTEGER PRIMARY KEY, id INTEGER NOT NULL, order_ordinal INTEGER NOT NULL,
    external_execution_id TEXT NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL, fees TEXT NOT NULL,
    fee_currency TEXT NOT NULL, executed_at INTEGER NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX executions_by_order ON executions (order_ordinal);
CREATE TABLE labels (label_id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, orders INTEGER NOT NULL) STRICT;
CREATE TABLE label_orders (
    label_id INTEGER NOT NULL, ordinal INTEGER NOT NULL, PRIMARY KEY (label_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE notes (note_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE positions (
    mode TEXT NOT NULL, account_id TEXT NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL, broker TEXT NOT NULL,
    quantity TEXT NOT NULL, cost TEXT NOT NULL, realized TEXT NOT NULL, fees TEXT NOT NULL, lot_size TEXT NOT NULL,
    base_rate TEXT NOT NULL, base_asset TEXT, is_whole INTEGER NOT NULL, PRIMARY KEY (mode, account_id, venue, symbol)
) STRICT, WITHOUT ROWID;
CREATE TABLE adjustments (adjustment_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, mode TEXT) STRICT;
CREATE TABLE alerts (
    sequence INTEGER PRIMARY KEY, level TEXT NOT NULL, account_id TEXT, rule_id TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_by_account ON alerts (account_id);
CREATE INDEX alerts_by_rule ON alerts (rule_id);
CREATE INDEX alerts_by_level ON alerts (level);
CREATE INDEX alerts_by_account_and_rule ON alerts (account_id, rule_id);
CREATE INDEX alerts_by_account_and_level ON alerts (account_id, level);
CREATE INDEX alerts_by_rule_and_level ON alerts (rule_id, level);
CREATE INDEX alerts_by_all ON alerts (account_id, rule_id, level);
"];

/// Opens the file for the one who writes, made or brought up to date where it has to be.
///
/// # Errors
/// What SQLite says; `SQLITE_NOTADB` for a file of a newer version, too: it is made anew.
pub(in crate::order_log) fn open_read_write(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(MAX_CACHED_STATEMENTS);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut takes the last commits and no more: the journal has them.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Pages go back to the file between two commits, by us.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT_BYTES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens the file for reading.
///
/// # Errors
/// What SQLite says.
pub(in crate::order_log) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(MAX_CACHED_STATEMENTS);
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        let why = format!("the file is of version {version}, newer than this program");
        return Err(rusqlite::Error::SqliteFailure(code, Some(why)));
    }
    for step in &MIGRATIONS[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(
        None,
        "user_version",
        i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX),
    )?;
    transaction.commit()
}

/// Whether an error that the writer meets tells that the file cannot be used any more, and a new one has to be made.
pub(in crate::order_log) fn requires_rebuild(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => is_corrupt(error),
    }
}

/// Whether an error tells that the file itself is broken. That a value cannot be read is none: it could not be read in a
/// file that is made anew either.
pub(in crate::order_log) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SchemaChanged, TypeMismatch};
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => {
            // A table or column that is not there: somebody else's file, or a part of ours.
            let is_foreign = text.as_ref().is_some_and(|text| text.starts_with("no such"));
            is_foreign
                || matches!(
                    failure.code,
                    DatabaseCorrupt | NotADatabase | SchemaChanged | TypeMismatch
                )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_a_newer_or_foreign_one_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.sqlite");
        for _ in 0..2 {
            let connection = open_read_write(&path).unwrap();
            let mode: String = connection
                .pragma_query_value(None, "journal_mode", |row| row.get(0))
                .unwrap();
            assert_eq!(mode, "wal");
            connection.execute("DELETE FROM orders", []).unwrap();
        }
        let connection = open_read_write(&path).unwrap();
        connection.pragma_update(None, "user_version", 1_000).unwrap();
        drop(connection);
        assert!(requires_rebuild(&open_read_write(&path).unwrap_err()));
        std::fs::write(
            &path,
            "a shopping list, and no database of any kind at all ".repeat(100),
        )
        .unwrap();
        assert!(requires_rebuild(&open_read_write(&path).unwrap_err()));
    }
}
