//! The journal entries that were skipped: missing, or not readable by the version of the program that met them.

use rusqlite::{Connection, params};

/// The most skipped entries that have a row.
const MAX_SKIPPED_ROWS: u64 = 10_000;
/// The version of this program.
const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Records a skipped entry, with the version of this program: another version may be able to read it.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn insert(connection: &Connection, sequence: u64, reason: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO skipped (sequence, version, reason) SELECT ?1, ?2, ?3 \
               WHERE (SELECT count(*) FROM skipped) < ?4";
    let mut statement = connection.prepare_cached(sql)?;
    statement
        .execute(params![sequence, PROGRAM_VERSION, reason, MAX_SKIPPED_ROWS])
        .map(drop)
}

/// Returns how many skipped entries are recorded.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM skipped", [], |row| row.get(0))
}

/// Reports whether another version of the program has skipped entries: this version may be able to read them.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn exist_of_other_version(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM skipped WHERE version <> ?1 LIMIT 1";
    connection.prepare(sql)?.exists([PROGRAM_VERSION])
}
