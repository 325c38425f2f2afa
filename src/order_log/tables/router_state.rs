//! The state that operators have set last, as far as the order log needs it: the mode.

use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::order_terms::Mode;
use crate::order_log::database::sql_types::DomainColumn;

/// Stores a state change, unless a later one is stored already. A change without a mode keeps the mode.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn save(connection: &Connection, version: u64, mode: Option<Mode>) -> rusqlite::Result<()> {
    let sql = "INSERT INTO state (one, version, mode) VALUES (1, ?1, ?2) ON CONFLICT (one) DO UPDATE \
               SET version = excluded.version, mode = coalesce(excluded.mode, mode) WHERE excluded.version > version";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![version, DomainColumn(mode)]).map(drop)
}

/// Returns the mode that operators have set last; before the first change, the one every router starts in.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn load_mode(connection: &Connection) -> rusqlite::Result<Mode> {
    let mode = connection
        .prepare_cached("SELECT mode FROM state WHERE mode IS NOT NULL")?
        .query_row([], |row| row.get::<_, DomainColumn<Mode>>(0))
        .optional()?;
    Ok(mode.map_or(Mode::Paper, |column| column.0))
}
