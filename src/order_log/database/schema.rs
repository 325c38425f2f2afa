//! The schema of the file, how connections are opened, and which errors mean that the file must be rebuilt.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::config::private_files;
use crate::order_log::database::columns::create_table;
use crate::order_log::tables::executions::ExecutionColumn;
use crate::order_log::tables::orders::OrderColumn;
use crate::order_log::tables::positions::PositionColumn;

/// How long a statement waits for a lock that another program holds on the file.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// The most prepared statements a connection keeps.
const MAX_CACHED_STATEMENTS: usize = 64;
/// The page cache of the writing connection, in KiB.
const WRITER_CACHE_KIB: i64 = 64 * 1_024;
/// The most bytes that the write-ahead log keeps on disk once its pages are in the main file.
const WAL_SIZE_LIMIT_BYTES: i64 = 16 * 1_024 * 1_024;
/// The page cache of a reading connection, in KiB.
const READER_CACHE_KIB: i64 = 8 * 1_024;

/// The version of the projection: raised when journal entries become other rows in tables of the same shape. A change of
/// the shape needs no raise.
const PROJECTION_VERSION: u32 = 1;

/// The statements that create the tables.
///
/// | table | holds |
/// |---|---|
/// | `watermarks` | per stream: its creation time (µs), the last sequence that is applied, and when the stream stored that entry (µs) |
/// | `skipped` | journal entries that are missing, or that `version` of the program could not read |
/// | `orders` | every order, by its place among the orders, from 0; `id` is the sequence of its first entry; times in µs since 1970, numbers as exact texts, `tags` and `reason` as JSON; `is_released` is 1 while the order is known only by a submission that was released, `claim` is the claim of its last submission, `settlement` the end of the id of the settlement that made `version` |
/// | `executions` | every fill, by its place among the fills, from 0; `id` is the sequence of its entry × 4096 + its index there |
/// | `tags`, `tag_orders` | each tag in lower case, how many orders have it, and which |
/// | `notes` | the notes that `orders` includes |
/// | `positions` | per mode, account, venue and symbol: quantity, cost, realized result and fees as whole numbers in texts; `is_exact` is 0 once something could not be counted exactly |
/// | `adjustments` | the adjustments that `positions` includes |
/// | `state` | the state that operators have set last |
/// | `alerts` | the stream of alerts, body by body |
static SCHEMA: LazyLock<String> = LazyLock::new(|| {
    let orders = create_table::<OrderColumn>("", "STRICT");
    let executions = create_table::<ExecutionColumn>("", "STRICT");
    let key = ", PRIMARY KEY (mode, account_id, venue, symbol)";
    let positions = create_table::<PositionColumn>(key, "STRICT, WITHOUT ROWID");
    [&orders, &executions, &positions, OTHER_TABLES].concat()
});
const OTHER_TABLES: &str = "
CREATE UNIQUE INDEX orders_by_order_id ON orders (order_id);
CREATE INDEX orders_by_client_order_id ON orders (client_order_id, account_id);
CREATE INDEX executions_by_order ON executions (order_ordinal);
CREATE TABLE watermarks (
    stream TEXT PRIMARY KEY, stream_created_at INTEGER NOT NULL, sequence INTEGER NOT NULL, stored_at INTEGER NOT NULL
) STRICT;
CREATE TABLE skipped (sequence INTEGER PRIMARY KEY, version TEXT NOT NULL, reason TEXT NOT NULL) STRICT;
CREATE TABLE tags (tag_id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, order_count INTEGER NOT NULL) STRICT;
CREATE TABLE tag_orders (
    tag_id INTEGER NOT NULL, ordinal INTEGER NOT NULL, PRIMARY KEY (tag_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE notes (note_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
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
";

/// Opens the file for writing, and creates its tables if it is new.
///
/// # Errors
/// Any error of SQLite; `SQLITE_NOTADB` also for a file of another schema version: it must be rebuilt.
pub(in crate::order_log) fn open_read_write(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite gives its other files the mode of this one. It reports itself what prevents the file's creation.
    let _ = private_files::open_private_file(path);
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(MAX_CACHED_STATEMENTS);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut loses only the last commits: the journal still has their entries.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // The writer runs its own checkpoints, between two commits.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT_BYTES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    create_tables(&mut connection)?;
    Ok(connection)
}

/// Opens the file for reading.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(MAX_CACHED_STATEMENTS);
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

/// Creates the tables of a new file, whose version is 0. There are no migrations: the journal has everything, so a file of
/// another version is rebuilt.
fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (found, expected) = (read_version(&transaction)?, schema_version(&SCHEMA, PROJECTION_VERSION));
    if found == expected {
        return Ok(());
    }
    if found != 0 {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        let text = format!("the file has schema version {found}, this program needs {expected}");
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    transaction.execute_batch(&SCHEMA)?;
    transaction.pragma_update(None, "user_version", expected)?;
    transaction.commit()
}

/// Reports whether a file has the schema of this program.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn is_own(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(read_version(connection)? == schema_version(&SCHEMA, PROJECTION_VERSION))
}

fn read_version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Returns the version of a schema, from 1: a hash (FNV-1a, 31 bits) of its statements and of the projection's version.
fn schema_version(schema: &str, projection_version: u32) -> i32 {
    let bytes = schema.bytes().chain(projection_version.to_le_bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    i32::try_from(hash >> 1).unwrap_or(i32::MAX).max(1)
}

/// Reports whether an error that the writer meets means that the file cannot be used and must be rebuilt.
pub(in crate::order_log) fn requires_rebuild(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => is_corrupt(error),
    }
}

/// Reports whether an error means that the file itself is corrupt. A value that cannot be read does not: a rebuilt file
/// would hold the same value.
pub(in crate::order_log) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SchemaChanged, TypeMismatch};
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => {
            // A missing table or column: the file of another program, or a part of this one.
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
#[path = "schema_tests.rs"]
mod tests;
